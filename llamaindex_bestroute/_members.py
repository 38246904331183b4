"""LLMs as members of a pool: how they are given, and described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM

from bestroute import client
from bestroute.errors import ConfigError
from bestroute.pool import ModelPool, PoolLike
from llamaindex_bestroute._llm_client import LLMClient, is_openai

_PACKAGES = "llama_index.llms."
# LlamaIndex's names of packages, where LiteLLM has others of providers; its id has none at all.
_PROVIDERS = {
    "azure_inference": "azure_ai",
    "azure_openai": "azure",
    "bedrock_converse": "bedrock",
    "fireworks": "fireworks_ai",
    "google_genai": "gemini",
    "huggingface_api": "huggingface",
    "litellm": "",
    "mistralai": "mistral",
    "nvidia": "nvidia_nim",
    "together": "together_ai",
    "vertex": "vertex_ai",
}
_UNNAMED = "unknown"


def with_clients(pool: PoolLike | None) -> PoolLike | None:
    """The pool, where a member's `model` or `client` may be an LLM.

    Without an id in `model`, the LLM says which one it is, and so whose prices it has.

    Raises:
        ConfigError: An LLM does not know its own model.
    """
    joined: PoolLike | None = client.with_clients(pool, LLM, LLMClient, _described)
    return joined


def _described(llm: LLM) -> dict[str, Any]:
    """LiteLLM's id, and what the LLM says of itself."""
    said = _metadata(llm)
    names = [_provider(llm), said.model_name]
    known: dict[str, Any] = {
        "model": "/".join(name for name in names if name not in ("", _UNNAMED)),
        "tools": isinstance(llm, FunctionCallingLLM) and said.is_function_calling_model,
    }
    if said.context_window != DEFAULT_CONTEXT_WINDOW:  # which is what nobody has said
        known["context_window"] = said.context_window
    if not is_openai(llm):
        known["response_format"] = False  # an argument of OpenAI's
    return known


def _metadata(llm: LLM) -> LLMMetadata:
    try:
        return llm.metadata
    except ValueError as error:
        raise ConfigError(f"{type(llm).__name__} does not know its model: {error}") from error
    except Exception:  # some ask their server, which may be away: that is no mistake in the pool
        name = str(getattr(llm, "model", _UNNAMED))
        return LLMMetadata(model_name=name, is_function_calling_model=True)


def _provider(llm: LLM) -> str:
    """By the nearest class that is of a package of LlamaIndex's; else what the LLM is called.

    A bare name could be that of another's model, which has another price.
    """
    modules = [kind.__module__ for kind in type(llm).__mro__]
    found = next((each for each in modules if each.startswith(_PACKAGES)), None)
    if found is None:
        return llm.class_name()
    package = found.removeprefix(_PACKAGES).partition(".")[0]
    return _PROVIDERS.get(package, package)


def check_written(source: Any) -> None:
    """Refuse a source as it was written down, if a client of its members was not.

    Raises:
        ConfigError: Names the member.
    """
    pool = source.get("pool") if isinstance(source, Mapping) else None
    for entry in pool["models"] if isinstance(pool, Mapping) else ():
        if isinstance(entry.get("client"), str):
            raise ConfigError(
                f"the model {entry['name']!r} answers through an object that is not written "
                "down: build it again with pool="
            )


def check_picklable(pool: ModelPool | None) -> None:
    """Refuse to write down a pool that has LLMs.

    Raises:
        ConfigError: It has.
    """
    for member in pool.models if pool else ():
        if isinstance(member.client, LLMClient):
            member.client.__reduce__()
