"""BestRouteMiddleware: best-of-n routing of an agent's model calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Any, NotRequired, cast

from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
)
from langchain.agents.middleware.types import ContextT, PrivateStateAttr, ResponseT
from langchain_core.messages import AIMessage
from langgraph.types import Command

from bestroute import ModelPool
from bestroute.errors import ConfigError
from langchain_bestroute._messages import maker
from langchain_bestroute._session import (
    Session,
    after,
    caller,
    digests,
    still_cached,
    tool_calling,
)
from langchain_bestroute.chat_models import ChatBestRoute

PORTABLE = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "timeout",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "response_format",
        "parallel_tool_calls",
        "strict",
    }
)
"""Settings that mean the same to every model."""

_CHOOSING = ("model", "models", "cached_tokens")

_log = logging.getLogger(__name__)


class BestRouteState(AgentState[Any]):
    """The agent's state, and what the middleware remembers; it is neither input nor output."""

    bestroute: NotRequired[Annotated[Session, PrivateStateAttr]]


class BestRouteMiddleware(AgentMiddleware[BestRouteState, ContextT, ResponseT]):
    """Routes each model call of an agent, and keeps together what belongs together.

    The agent's own `model` is not called: `llm` answers in its place.

    **A tool-call turn is never split.** From its first tool call until the next user message of
    the agent's state (what other middleware adds to a prompt is none), only arms of the model
    that made the call are drawn, whatever settings say, and it gets its thoughts back. Their
    number of samples is still the policy's choice: the arm that qualified with best-of-3 for
    the question would not qualify with one sample for the answer. No other model stands in when
    that model fails: `SamplingError`, or `NoEligibleArmError` where the prompt has outgrown it,
    reaches the caller; `ModelFallbackMiddleware`, listed after this one, can take over. A turn
    that a model outside the pool has begun is routed.

    **A session stays where the prompt is cached**, exactly as long as it saves: the last prompt
    of each model, if it is the beginning of the new one, is estimated at the model's cached
    price (`price.cached_input`, or LiteLLM's). A policy that minimises cost does the rest. A
    provider that should hold a prompt and reports no cached tokens is not counted on again
    until it does.

    **Settings do not travel.** `request.model_settings`, made for another model, reach the pool
    only where they mean the same to every model (temperature, max_tokens, stop ...). Those made
    for a `ChatBestRoute` all do.

    Args:
        llm: The pool, with the options of every call.
        cache_ttl: Seconds that a provider holds a prompt; 0 counts on no cache.
        min_cached_tokens: Shorter prompts are not cached.
        keep_settings: Names of further settings that every model of the pool understands.
        clock: Seconds since the epoch.

    Raises:
        ConfigError: `llm` is no `ChatBestRoute`.

    Examples:
        >>> from langchain.agents import create_agent
        >>> from langchain_bestroute import BestRouteMiddleware, ChatBestRoute
        >>> llm = ChatBestRoute(pool={"models": [
        ...     {"model": "groq/llama-3.1-8b-instant", "max_samples": 3},
        ...     {"model": "openai/gpt-4o", "reference": True},
        ... ]})
        >>> agent = create_agent(llm, tools=[], middleware=[BestRouteMiddleware(llm)])
        >>> agent.invoke({"messages": "What is 17 * 3?"})  # doctest: +SKIP
    """

    state_schema = BestRouteState

    def __init__(
        self,
        llm: ChatBestRoute,
        *,
        cache_ttl: float = 300.0,
        min_cached_tokens: int = 1024,
        keep_settings: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(llm, ChatBestRoute):
            raise ConfigError(
                f"BestRouteMiddleware needs a ChatBestRoute, not {type(llm).__name__}: "
                "give options to ChatBestRoute itself instead of binding them"
            )
        super().__init__()
        self.llm = llm
        self.cache_ttl = cache_ttl
        self.min_cached_tokens = min_cached_tokens
        self.keep_settings = frozenset(keep_settings)
        self.clock = clock

    def wrap_model_call(
        self,
        request: ModelRequest[ContextT],
        handler: Callable[[ModelRequest[ContextT]], ModelResponse[ResponseT]],
    ) -> ModelResponse[ResponseT] | ExtendedModelResponse[ResponseT]:
        """Let the pool answer instead of the agent's model.

        Raises:
            SamplingError: No model that may answer did.
            NoEligibleArmError: None can.
        """
        routed = self._routed(request)
        return self._remember(routed, handler(routed))

    async def awrap_model_call(
        self,
        request: ModelRequest[ContextT],
        handler: Callable[[ModelRequest[ContextT]], Awaitable[ModelResponse[ResponseT]]],
    ) -> ModelResponse[ResponseT] | ExtendedModelResponse[ResponseT]:
        """Let the pool answer instead of the agent's model; see `wrap_model_call`."""
        routed = self._routed(request)
        return self._remember(routed, await handler(routed))

    def _routed(self, request: ModelRequest[ContextT]) -> ModelRequest[ContextT]:
        # Knobs go onto the model, not into the settings: a fallback model would be given those.
        session = self._session(request)
        known: dict[str, Any] = {"cached_tokens": self._cached(request, session)}
        settings = self._settings(request)
        if (model := self._bound_to(request, session)) is not None:
            known["models"] = (model,)
            settings = {key: value for key, value in settings.items() if key not in _CHOOSING}
        return request.override(model=self.llm.model_copy(update=known), model_settings=settings)

    def _cached(self, request: ModelRequest[ContextT], session: Session) -> dict[str, int]:
        since = self.clock() - self.cache_ttl
        held = still_cached(
            session, _prefixes(request), since=since, at_least=self.min_cached_tokens
        )
        members = {member.name for member in self._pool.models}
        return {model: tokens for model, tokens in held.items() if model in members}

    def _bound_to(self, request: ModelRequest[ContextT], session: Session) -> str | None:
        """The model whose tool loop is not finished."""
        message = tool_calling(request.state["messages"])
        return None if message is None else caller(message, session, self._pool)

    @property
    def _pool(self) -> ModelPool:
        return self.llm.engine.pool

    def _session(self, request: ModelRequest[ContextT]) -> Session:
        """What is known of this pool; what was of another is forgotten."""
        session = cast(Session, request.state.get("bestroute") or {})
        return session if session.get("pool") == self._pool.fingerprint else {}

    def _settings(self, request: ModelRequest[ContextT]) -> dict[str, Any]:
        given = request.model_settings
        if isinstance(request.model, ChatBestRoute):
            return given
        kept = {
            name: value
            for name, value in given.items()
            if name in PORTABLE or name in self.keep_settings
        }
        if dropped := sorted(given.keys() - kept.keys()):
            _log.debug("settings for %s dropped: %s", type(request.model).__name__, dropped)
        return kept

    def _remember(
        self, routed: ModelRequest[ContextT], response: ModelResponse[ResponseT]
    ) -> ModelResponse[ResponseT] | ExtendedModelResponse[ResponseT]:
        message = next((each for each in response.result if isinstance(each, AIMessage)), None)
        if message is None or maker(message, self._pool) is None:
            return response  # other middleware answered, or a fallback did
        session = after(
            self._session(routed),
            message,
            _prefixes(routed),
            counted_on=cast(ChatBestRoute, routed.model).cached_tokens or (),
            at=self.clock(),
        )
        return ExtendedModelResponse(response, Command(update={"bestroute": session}))


def _prefixes(request: ModelRequest[Any]) -> list[str]:
    tools = [tool if isinstance(tool, dict) else tool.name for tool in request.tools]
    return list(digests([request.system_prompt, tools], request.messages))
