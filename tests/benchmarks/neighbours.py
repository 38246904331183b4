"""LangChain's two suites on ChatBestRoute and its neighbours; run by `langchain_suites`.

Not collected otherwise. The neighbours are no dependency; each is imported in its own class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from tests.langchain_suite import BestRouteSuite, Suite


class Unit(ChatModelUnitTests):
    @pytest.fixture
    def snapshot(self) -> Any:
        """There is none of the neighbours: what is written must be revived, whatever it is."""
        return lambda name: ANY


class Recording:
    @pytest.fixture
    def vcr_cassette_dir(self, tmp_path: Path) -> str:
        return str(tmp_path)

    @pytest.fixture
    def vcr_config(self) -> dict[str, Any]:
        return {"record_mode": "once"}


class BestRoute:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        from langchain_bestroute import ChatBestRoute

        return ChatBestRoute


class TestBestRouteUnit(BestRoute, Unit):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        models = [
            {"model": "groq/llama-3.1-8b-instant", "max_samples": 3},
            {"model": "openai/gpt-4o", "reference": True},
        ]
        return {"pool": {"models": models}}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "key"}, self.chat_model_params, {}


class TestBestRouteIntegration(Recording, BestRouteSuite):
    """Three samples, and the reference where they differ."""


class LiteLLM:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        from langchain_litellm import ChatLiteLLM

        return ChatLiteLLM


class TestLiteLLMUnit(LiteLLM, Unit):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "openai/gpt-4o", "api_key": "key"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "key"}, {"model": "openai/gpt-4o"}, {}


class TestLiteLLMIntegration(LiteLLM, Recording, Suite):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "openai/big", **self.server.params}

    @property
    def model_override_value(self) -> str:
        return "openai/small"


class OpenAI:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        from langchain_openai import ChatOpenAI

        return ChatOpenAI


class TestOpenAIUnit(OpenAI, Unit):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "gpt-4o", "api_key": "key"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "key"}, {"model": "gpt-4o"}, {"openai_api_key": "key"}


class TestOpenAIIntegration(OpenAI, Recording, Suite):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        params = self.server.params
        at = {"base_url": params["api_base"], "api_key": params["api_key"]}
        return {"model": "big", "stream_usage": True, **at}  # the default at OpenAI's own address

    @property
    def model_override_value(self) -> str:
        return "small"
