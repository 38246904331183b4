"""The suite for LlamaIndex LLMs on BestRouteLLM and its neighbours; run by `llamaindex_suites`.

Not collected otherwise. The neighbours are no dependency; each is imported in its own class, and
claims what its documentation and its code offer: a skip is a claim that is not made.
"""

from __future__ import annotations

from typing import Any

from tests.bestroute_llm import Cascade, OneModel
from tests.llamaindex_suite import LLMSuite


class TestBestRoute(Cascade):
    """Three samples of a small model; where they differ, the big one."""


class TestBestRouteOne(OneModel):
    """One sample of one model."""


class TestLiteLLM(LLMSuite):
    """llama-index-llms-litellm, under the name of a model that LiteLLM knows.

    It has no thinking blocks, no way to tell it about a model, and no tool_choice by name.
    """

    supports_thinking = False
    supports_tool_choice = False

    @property
    def llm_class(self) -> type[Any]:
        from llama_index.llms.litellm import LiteLLM

        return LiteLLM

    @property
    def llm_params(self) -> dict[str, Any]:
        return {
            "model": "openai/gpt-4o",
            "api_base": self.server.url,
            "api_key": self.api_key,
        }


class TestOpenAILike(LLMSuite):
    """llama-index-llms-openai-like, told that its model chats, calls tools and counts tokens."""

    metadata_params = {name: name for name in ("context_window", "is_function_calling_model")}

    @property
    def llm_class(self) -> type[Any]:
        from llama_index.llms.openai_like import OpenAILike

        return OpenAILike

    @property
    def llm_params(self) -> dict[str, Any]:
        return {
            "model": "big",
            "api_base": self.server.url,
            "api_key": self.api_key,
            "context_window": 8000,
            "is_chat_model": True,
            "is_function_calling_model": True,
            "additional_kwargs": {"stream_options": {"include_usage": True}},
        }
