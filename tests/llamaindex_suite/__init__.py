"""A standard test suite for LlamaIndex LLMs that speak OpenAI's chat completions.

LlamaIndex has none of its own. Subclass `LLMSuite`, say what is built and what it claims:

    class TestMyLLM(LLMSuite):
        @property
        def llm_class(self):
            return MyLLM

        @property
        def llm_params(self):
            return {"api_base": self.server.url, "api_key": self.api_key}

        supports_audio = False

`Capabilities` is the table of all claims. A claim that is not made skips its tests. Each test says
what a first-class LLM does, and what to do where one fails.
"""

from __future__ import annotations

import pytest

_GROUPS = (
    "calls",
    "parameters",
    "errors",
    "identity",
    "secrets",
    "observability",
    "usage",
    "messages",
    "blocks",
    "tools",
    "history",
    "structured",
    "frameworks",
)
pytest.register_assert_rewrite(*(f"{__name__}.{group}" for group in _GROUPS))

from tests.llamaindex_suite.suite import LLMSuite  # noqa: E402

__all__ = ["LLMSuite"]
