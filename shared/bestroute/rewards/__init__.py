"""Reward models: a query and its responses in, scores out."""

from bestroute.rewards.answers import extract_answer
from bestroute.rewards.base import RewardModel, Scored, Scores, load_reward
from bestroute.rewards.classifier import ClassifierReward
from bestroute.rewards.consistency import SelfConsistency, agreement
from bestroute.rewards.function import FunctionReward
from bestroute.rewards.judge import JudgeReward
from bestroute.rewards.onnx import OnnxReward
from bestroute.rewards.static import StaticReward
from bestroute.rewards.validity import why_invalid

__all__ = [
    "ClassifierReward",
    "FunctionReward",
    "JudgeReward",
    "OnnxReward",
    "RewardModel",
    "Scored",
    "Scores",
    "SelfConsistency",
    "StaticReward",
    "agreement",
    "extract_answer",
    "load_reward",
    "why_invalid",
]
