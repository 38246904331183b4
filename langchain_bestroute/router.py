"""BestRouteRouter: the decision alone, for those who bring their own branches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSerializable,
)
from pydantic import ConfigDict

from bestroute import Decision
from bestroute.errors import ConfigError
from bestroute.target import override
from langchain_bestroute._doors import configured
from langchain_bestroute._messages import to_openai
from langchain_bestroute._routing import Routing
from langchain_bestroute._serialization import register
from langchain_bestroute._tracing import plain_decision


class BestRouteRouter(Routing, RunnableSerializable[LanguageModelInput, Decision]):
    """Takes what a chat model takes, and says which model to ask, how often, and why.

    No model is called. Arguments and fields are those of `Routing`; keyword arguments of a call
    (or of `bind`) those of `bestroute.options.Options`, such as the `tools` that the request
    will carry. The run is traced as a chain, with the decision as plain data in its outputs.

    Examples:
        >>> from langchain_bestroute import BestRouteRouter
        >>> router = BestRouteRouter(pool={"models": [
        ...     {"model": "groq/llama-3.1-8b-instant", "max_samples": 3},
        ...     {"model": "openai/gpt-4o", "reference": True},
        ... ]})
        >>> str(router.invoke("What is 17 * 3?").arm)
        'groq/llama-3.1-8b-instant:3'
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Decision:
        """Decide.

        Args:
            input: A text, messages, or a prompt value.
            config: Callbacks, tags ...; its configurable values `bestroute_threshold` (or
                `bestroute_max_drop`, `_target_cost`, `_max_cost`, `_max_n`) are options as well.
            **kwargs: Options of this call.

        Raises:
            ConfigError: Options contradict each other, or cannot be had.
            RequestError: The request is malformed.
            NoEligibleArmError: No arm can serve it.
        """
        call, made = override(configured(config), kwargs), list[Decision]()
        self._call_with_config(lambda given: self._decide(given, call, made), input, config)
        return made[0]

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Decision:
        """Decide in a worker thread; see `invoke`."""
        call, made = override(configured(config), kwargs), list[Decision]()

        async def decide(given: LanguageModelInput) -> Any:
            return await asyncio.to_thread(self._decide, given, call, made)

        await self._acall_with_config(decide, input, config)
        return made[0]

    def with_decision(self) -> Runnable[LanguageModelInput, dict[str, Any]]:
        """Give `{"decision": Decision, "input": the input as given}`, for branches to follow."""
        return RunnableParallel(decision=self, input=RunnablePassthrough())

    def branch(self, branches: Mapping[str, Any]) -> Runnable[LanguageModelInput, Any]:
        """Decide, then run the branch of the chosen model on the same input.

        Args:
            branches: For every model of the pool, by name, a runnable or what becomes one.

        Raises:
            ConfigError: A model has no branch, or a branch no model.
        """
        names = [member.name for member in self.engine.pool.models]
        if odd := sorted(set(names) ^ set(branches)):
            raise ConfigError(
                f"there must be one branch for each of {', '.join(names)}; "
                f"too many or missing: {', '.join(odd)}"
            )
        ways = {name: _input | way for name, way in branches.items()}
        return self.with_decision() | RunnableLambda(lambda made: ways[made["decision"].arm.model])

    def _decide(
        self, given: LanguageModelInput, call: Mapping[str, Any], made: list[Decision]
    ) -> Any:
        """Append the decision; what is returned, plain data, goes into the trace."""
        made.append(self.engine.route(_messages(given), **self.options_of(call)))
        return plain_decision(made[-1])


_input: Runnable[dict[str, Any], Any] = RunnableLambda(lambda made: made["input"])


def _messages(given: LanguageModelInput) -> list[dict[str, Any]]:
    if isinstance(given, PromptValue):
        return to_openai(given.to_messages())
    return to_openai(convert_to_messages([given] if isinstance(given, str) else given))


register(BestRouteRouter)
