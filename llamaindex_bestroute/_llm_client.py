"""A LlamaIndex LLM in LiteLLM's place."""

from __future__ import annotations

import hmac
import inspect
import json
import math
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM

from bestroute._secrets import hidden, hide, shown
from bestroute.client import Alike
from bestroute.deadline import paced
from bestroute.errors import ConfigError
from llamaindex_bestroute._asked import answers, as_asked
from llamaindex_bestroute._completions import Pieces, completion
from llamaindex_bestroute._messages import to_be_asked
from llamaindex_bestroute._tools import offer

_FIELDS = ("temperature", "max_tokens")
_KNOW_CACHE_POINTS = ("llama_index.llms.anthropic.", "llama_index.llms.bedrock_converse.")
_FOR_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
_OF_THIS_PROCESS = secrets.token_bytes(32)


class LLMClient(Alike):
    """Asks a LlamaIndex LLM for a member of a pool: `PooledModel(model=..., client=...)`.

    Handlers of `Settings` and the global one do not hear of it, those of the object itself do.
    Events and spans have the tag `{"bestroute": "candidate"}`. Rate limiter and retries are the
    object's own. It is not pickled: LlamaIndex writes down the keys of its LLMs.

    Args:
        llm: The LLM; not changed.
    """

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        own = {name: getattr(llm, name, None) for name in _FIELDS}
        self.own = {name: value for name, value in own.items() if value is not None}

    async def acompletion(
        self,
        *,
        messages: Sequence[Mapping[str, Any]],
        stream: bool = False,
        timeout: float | None = None,
        stream_options: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> Any:
        """Answer as `litellm.acompletion` does; see `ModelClient`.

        Raises:
            NotImplementedError: There are tools, and the LLM cannot call any.
            TimeoutError: Nothing came within `timeout` seconds.
            Exception: The LLM's own.
        """
        llm, arguments = self._prepared(params)
        marked = any(k.__module__.startswith(_KNOW_CACHE_POINTS) for k in type(self.llm).__mro__)
        asked = [to_be_asked(message, marked=marked) for message in messages]
        arguments["chat_history" if "tools" in arguments else "messages"] = asked
        if stream and is_openai(llm):  # others count tokens unasked, and refuse the argument
            arguments["stream_options"] = dict(stream_options or {"include_usage": True})
        found = answers(llm, arguments, stream=stream)
        pieces = paced(found, math.inf if timeout is None else timeout, math.inf)
        if stream:
            return _pieces(await anext(pieces, None), pieces, found)
        async with aclosing(found):
            return completion(await anext(pieces))

    def _prepared(self, params: Mapping[str, Any]) -> tuple[LLM, dict[str, Any]]:
        """The LLM as it is asked, and the arguments of the call.

        Fields of the object would win over arguments of the call in many packages, so that they
        are changed in a copy.
        """
        fields = [name for name in _FIELDS if name in type(self.llm).model_fields]
        changes = {name: params[name] for name in fields if params.get(name) is not None}
        changes = {name: changes[name] for name in changes if self.own.get(name) != changes[name]}
        given = {
            name: value for name, value in params.items() if name not in (*fields, *_FOR_TOOLS)
        }
        return as_asked(self.llm, changes), {**given, **self._offered(params)}

    def _offered(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if not params.get("tools"):
            return {}
        if not isinstance(self.llm, FunctionCallingLLM):
            raise NotImplementedError(f"{type(self.llm).__name__} cannot call tools")
        takes = inspect.signature(self.llm._prepare_chat_with_tools).parameters
        return offer(params, openai=is_openai(self.llm), takes=takes)

    def __repr__(self) -> str:
        """What tells it from others: two that are configured alike have the same.

        Out of what may hold keys the digest is made with one of this process alone. Keys of the
        model (`api_key`) do not count: answers do not depend on them.
        """
        kind, known = type(self.llm), self.llm.to_dict()
        facts = hide("", {name: value for name, value in known.items() if value is not None})
        more = [each for each in hidden(facts) if each[0] != ".api_key"]
        name = f"{kind.__module__}.{kind.__qualname__}"
        text = json.dumps([name, shown(facts), more], sort_keys=True, default=repr)
        key = _OF_THIS_PROCESS if more else b""
        digest = hmac.digest(key, text.encode(), "sha256").hex()[:16]
        return f"{type(self).__name__}({kind.__name__}, {digest})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Nothing that pickle could keep.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"a pool with this {type(self.llm).__name__} is not pickled, for keys would be: "
            "LlamaIndex does not know which of its fields they are; build the pool again instead"
        )


def is_openai(llm: LLM) -> bool:
    """Whether it is of LlamaIndex's package for OpenAI, which others build on."""
    package = sys.modules.get("llama_index.llms.openai")
    return package is not None and isinstance(llm, package.OpenAI)


async def _pieces(
    first: ChatResponse | None,
    rest: AsyncGenerator[ChatResponse, None],
    found: AsyncGenerator[ChatResponse, None],
) -> AsyncGenerator[Any, None]:
    pieces = Pieces()
    async with aclosing(found), aclosing(rest):
        if first is not None:
            yield pieces.piece(first)
        async for response in rest:
            yield pieces.piece(response)
    yield pieces.last()
