"""`bestroute train-reward`, on the shipped samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import bestroute
from bestroute.cli.train_reward import train_reward
from bestroute.learning.reward_training.pairs import preference_pairs
from bestroute.learning.reward_training.train_reward import RewardReport, ranking_accuracy
from bestroute.learning.samples import read_samples
from bestroute.rewards import StaticReward

SAMPLES = Path(bestroute.__file__).parent / "data" / "demo_samples.parquet"


def test_it_trains_says_how_well_and_writes_the_report(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(train_reward)
    done = CliRunner().invoke(
        app, [str(SAMPLES), "-o", str(tmp_path / "reward"), "--json", str(tmp_path / "r.json")]
    )
    assert done.exit_code == 0, done.output
    report = RewardReport(**json.loads((tmp_path / "r.json").read_text()))
    held_out = preference_pairs(read_samples(SAMPLES), "calibration")
    reward = StaticReward.from_pretrained(tmp_path / "reward")
    assert report.held_out_pairs == len(held_out)
    assert report.accuracy_after == pytest.approx(ranking_accuracy(reward.score_many, held_out))
    assert f"{report.accuracy_after:.1%} of {len(held_out)} held-out pairs" in done.output
