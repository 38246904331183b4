"""Chat models as members of a pool: how they are given, described, and written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from bestroute import client
from bestroute.errors import ConfigError
from bestroute.pool import ModelPool, PoolLike
from langchain_bestroute._chat_client import ChatModelClient

# LangChain's names of providers, where LiteLLM has others; its id of a model has none at all.
_PROVIDERS = {
    "amazon_bedrock": "bedrock",
    "fireworks": "fireworks_ai",
    "google_genai": "gemini",
    "google_vertexai": "vertex_ai",
    "litellm": "",
    "nvidia": "nvidia_nim",
    "together": "together_ai",
}
_ABILITIES = {
    "context_window": "max_input_tokens",
    "vision": "image_inputs",
    "audio": "audio_inputs",
    "video": "video_inputs",
    "documents": "pdf_inputs",
    "tools": "tool_calling",
    "response_format": "structured_output",
}


def with_clients(pool: PoolLike | None) -> PoolLike | None:
    """The pool, where a member's `model` or `client` may be a chat model.

    Without an id in `model`, the chat model says which one it is, and so whose prices it has.
    """
    joined: PoolLike | None = client.with_clients(pool, BaseChatModel, ChatModelClient, _described)
    return joined


def _described(chat_model: BaseChatModel) -> dict[str, Any]:
    """LiteLLM's id, and what the model says of itself."""
    said = chat_model._get_ls_params()
    provider = str(said.get("ls_provider", "")).lower()
    name = str(said.get("ls_model_name") or chat_model._llm_type).removeprefix("models/")
    provider = _PROVIDERS.get(provider, provider)
    profile: Mapping[str, Any] = chat_model.profile or {}
    known = {
        field: profile[key] for field, key in _ABILITIES.items() if profile.get(key) is not None
    }
    if type(chat_model).bind_tools is BaseChatModel.bind_tools:
        known["tools"] = False
    return {"model": f"{provider}/{name}" if provider else name, **known}


def written(pool: ModelPool | None) -> dict[str, Any]:
    """`{"chat_models": ...}` by member, for those that can be written down without keys."""
    clients = {member.name: member.client for member in pool.models} if pool else {}
    chat_models = {
        name: client.chat_model
        for name, client in clients.items()
        if isinstance(client, ChatModelClient) and client.is_written
    }
    return {"chat_models": chat_models} if chat_models else {}


def rejoined(source: Any, chat_models: Mapping[str, BaseChatModel] | None) -> Any:
    """A source as it was written down, with the clients of its members.

    Raises:
        ConfigError: The client of a member was not written down.
    """
    if not isinstance(source, Mapping) or not isinstance(source.get("pool"), Mapping):
        return source
    models = [_rejoined(entry, chat_models or {}) for entry in source["pool"]["models"]]
    return {**source, "pool": {**source["pool"], "models": models}}


def _rejoined(
    entry: Mapping[str, Any], chat_models: Mapping[str, BaseChatModel]
) -> Mapping[str, Any]:
    if "client" not in entry:
        return entry
    chat_model = chat_models.get(str(entry["name"]))
    if not isinstance(chat_model, BaseChatModel):
        raise ConfigError(
            f"the model {entry['name']!r} answers through an object that is not written down: "
            "build it again with pool="
        )
    return {**entry, "client": ChatModelClient(chat_model)}
