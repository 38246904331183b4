"""BestRouteLLM in the standard suite for LlamaIndex LLMs, for two kinds of pool."""

from __future__ import annotations

from tests.bestroute_llm import Cascade, OneModel
from tests.llamaindex_suite import LLMSuite


class TestCascade(Cascade):
    """Three samples of a small model; where they differ, the big one."""


class TestOneModel(OneModel):
    """One sample of one model, which streams as it comes."""


def test_every_test_says_what_to_do() -> None:
    groups = LLMSuite.groups()
    assert len(groups) >= 45
    assert all(getattr(LLMSuite, name).__doc__ for name in groups)
