"""BestRouteLLM: a whole model pool behind LlamaIndex's interface of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import ToolSelection
from pydantic import ConfigDict, Field, field_serializer

from bestroute import BestRoute, catalog
from bestroute.budget import Budget
from bestroute.defaults import CallDefaults
from bestroute.errors import RequestError
from bestroute.pool import PooledModel, PoolLike
from bestroute.source import Source
from bestroute.target import Target
from llamaindex_bestroute._limits import longest_answer, smallest_window
from llamaindex_bestroute._members import check_picklable, check_written, with_clients
from llamaindex_bestroute._messages import to_openai
from llamaindex_bestroute._prompting import Prompting
from llamaindex_bestroute._question import (
    Question,
    as_acompletions,
    as_completion,
    as_completions,
)
from llamaindex_bestroute._reading import query_of, remembered, schema_in
from llamaindex_bestroute._streams import astreaming, streaming
from llamaindex_bestroute._tools import tool_calls, tool_params

if TYPE_CHECKING:
    from llama_index.core.tools.types import BaseTool

    from bestroute.policy import Policy

_OURS = ("messages", "streaming")
_SHOWN = (
    "max_n",
    "streaming_max_n",
    "max_cost",
    "query_turns",
    "query_pattern",
    "temperature",
    "max_tokens",
    "timeout",
)


class BestRouteLLM(CallDefaults, Prompting):
    """Routes each request to a model and a number of samples, and answers with the best sample.

    Keyword arguments of a call are those of `bestroute.options.Options`: OpenAI's parameters
    (tools, response_format, stop ...), and the router's (`threshold`, `max_n`, `model` ...);
    they win over the fields. Query engines put the retrieved context into the user message; the
    router reads their question only.

    Usage is the sum over all samples. The decision and its cost are in `raw["bestroute"]`; they
    and the selection are events as well, and each candidate is a span, without its text. A
    `rate_limiter` counts every sample.

    Keys belong to the models of the pool. Dumps and pickles leave them out; only
    `os.environ/NAME` in the pool, or the provider's own variable, works after loading.

    Args:
        pool: The model pool, plain data of one, or a YAML file. In plain data, the `model` of a
            member may be an LLM of LlamaIndex's. Without `artifact` the router is the
            training-free, uncalibrated `Cascade`.
        artifact: Directory or hub id of a saved router; see `from_pretrained`.
        revision: Branch, tag or commit on the hub.
        engine: Instead of all these, an engine built by hand (with a router, policy or reward
            model of your own). Such a model can be neither pickled nor built from its dump.
        max_retries: Further attempts of a call after a passing failure.
        window_budget: $ over a window of time that no call may exceed; may be shared.
        max_reference_share: Largest share of the last calls that may go to the reference, in
            [0, 1]; prompts that steer the router are bounded by it.
        ledger: File where each call's decision, tokens and cost are kept.

    The options of every call are fields, those of `CallDefaults`. Fields of its own are:

    Attributes:
        source: What the engine is built from.
        context_window: By default the smallest of the pool, an unknown one taken as 8192.
        is_function_calling_model: By default whether every model of the pool can call tools.
        query_variables: What prompt templates call the question: the first of these that a
            template has is what the router reads.

    Raises:
        ConfigError: The pool cannot be read, there is none, or options contradict each other.
        ArtifactError: The saved router cannot be read, or does not fit the pool.

    Examples:
        >>> from llamaindex_bestroute import BestRouteLLM
        >>> llm = BestRouteLLM({"models": [
        ...     {"model": "groq/llama-3.1-8b-instant", "max_samples": 3},
        ...     {"model": "openai/gpt-4o", "reference": True},
        ... ]})
        >>> llm.to_payload()["model_name"]
        'bestroute:openai/gpt-4o'
        >>> llm.complete("What is 17 * 3?").raw["bestroute"]["arm"]  # doctest: +SKIP
        'groq/llama-3.1-8b-instant:3'
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    source: Source = Field(frozen=True)
    context_window: int | None = Field(default=None, ge=1)
    is_function_calling_model: bool | None = None

    def __init__(
        self,
        pool: PoolLike | None = None,
        *,
        artifact: str | Path | None = None,
        revision: str | None = None,
        engine: BestRoute | None = None,
        max_retries: int | None = None,
        window_budget: Budget | None = None,
        max_reference_share: float | None = None,
        ledger: str | Path | None = None,
        **fields: Any,
    ) -> None:
        check_written(given := fields.pop("source", None))
        recipe: dict[str, Any] = {
            "pool": with_clients(pool),
            "artifact": artifact,
            "revision": revision,
        }
        recipe |= {"max_retries": max_retries, "window_budget": window_budget, "ledger": ledger}
        recipe |= {"max_reference_share": max_reference_share}
        source = Source.of(given, engine=engine, **recipe)
        super().__init__(source=source, **fields)
        if source is not given:  # a pickle's is built when first asked for
            _ = self._policy  # a mistake shows here, not at the first call
            self.check_against(self.engine.pool)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        pool: PoolLike | None = None,
        revision: str | None = None,
        threshold: float | None = None,
        **options: Any,
    ) -> BestRouteLLM:
        """Load a saved router from a directory or a hub id.

        Args:
            name_or_path: Directory, or id on the HuggingFace hub.
            pool: A pool of the artifact's names, for api_base, keys and other parameters.
            revision: Branch, tag or commit on the hub.
            threshold: Instead of the artifact's calibrated one.
            **options: Further fields.

        Raises:
            ArtifactError: It is absent, incomplete, damaged, or of an unknown version.
            PoolMismatchError: It was made for another pool.
        """
        return cls(
            artifact=name_or_path, pool=pool, revision=revision, threshold=threshold, **options
        )

    @classmethod
    def class_name(cls) -> str:
        """The name in serialised data."""
        return "BestRouteLLM"

    @property
    def engine(self) -> BestRoute:
        """The engine behind it; after unpickling, built when first asked for."""
        return self.source.engine

    @property
    def metadata(self) -> LLMMetadata:
        """What holds for every model that may be asked."""
        models = self._members
        tools = self.is_function_calling_model
        if tools is None:
            tools = all(catalog.can(each, "tools") for each in models)
        return LLMMetadata(
            context_window=self.context_window or smallest_window(models),
            num_output=self.max_tokens or longest_answer(models),
            is_chat_model=True,
            is_function_calling_model=tools,
            model_name=self._model_name,
        )

    @property
    def _model_name(self) -> str:
        names, reference = [each.name for each in self._members], self.engine.pool.reference.name
        return f"bestroute:{reference if reference in names else names[-1]}"

    @property
    def _members(self) -> Sequence[PooledModel]:
        pool = self.engine.pool
        return [pool[name] for name in self.models] if self.models else pool.models

    @property
    def _policy(self) -> Policy:
        return self.engine.policy_at(Target.of(self))

    def to_payload(self) -> dict[str, Any]:
        """What events may know of it: no keys, no addresses."""
        policy = self._policy
        return {
            "class_name": self.class_name(),
            "model_name": self._model_name,
            "models": [member.name for member in self._members],
            "policy": policy.name,
            "threshold": getattr(policy, "threshold", None),
            "max_drop": getattr(policy, "max_drop", None),
            "confidence": getattr(policy, "confidence", None),
            "target_cost": getattr(policy, "target_cost", None),
            **{name: getattr(self, name) for name in _SHOWN},
        }

    @field_serializer("source")
    def _plain_source(self, source: Source) -> dict[str, Any]:
        return source.plain()

    def __getstate__(self) -> dict[str, Any]:
        """What pickle keeps."""
        self.source.__getstate__()  # refuses here what LlamaIndex would quietly leave out
        check_picklable(self.source.pool)
        return super().__getstate__()

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Route, sample, select, answer."""
        return self._question(messages, kwargs).answer()

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Route, sample, select, answer."""
        return await self._question(messages, kwargs).aanswer()

    @streaming(llm_chat_callback)
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Stream one sample as it comes; of several, the selected one in one piece."""
        return self._question(messages, kwargs).stream()

    @astreaming(llm_chat_callback)
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Stream one sample as it comes; of several, the selected one in one piece."""
        return self._question(messages, kwargs).astream()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """`chat` with one user message."""
        return as_completion(self._prompted(prompt, formatted, kwargs).answer())

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """`achat` with one user message."""
        return as_completion(await self._prompted(prompt, formatted, kwargs).aanswer())

    @streaming(llm_completion_callback)
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """`stream_chat` with one user message."""
        return as_completions(self._prompted(prompt, formatted, kwargs).stream())

    @astreaming(llm_completion_callback)
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """`astream_chat` with one user message."""
        return as_acompletions(self._prompted(prompt, formatted, kwargs).astream())

    def _prompted(self, prompt: str, formatted: bool, kwargs: Mapping[str, Any]) -> Question:
        asked = [ChatMessage(content=prompt)]
        if formatted or self.completion_to_prompt is None:
            return self._question(asked, kwargs)
        return self._question(
            [ChatMessage(content=self.completion_to_prompt(prompt))], kwargs, asked
        )

    def _question(
        self,
        messages: Sequence[ChatMessage],
        kwargs: Mapping[str, Any],
        asked: Sequence[ChatMessage] | None = None,
    ) -> Question:
        """What the engine is asked; `asked` is what the router reads, if not the messages."""
        for name in _OURS:
            if name in kwargs:
                raise RequestError(f"{name} is no option of a call: leave it out")
        options = self.options_of({"query_text": remembered(messages), **kwargs})
        reading = {name: options.get(name) for name in ("query_turns", "query_pattern")}
        if not options.get("query_text") and (read := query_of(asked or messages, **reading)):
            options["query_text"] = read
        if not options.get("tools") and (schema := schema_in(messages)):
            options.setdefault("answer_schema", schema)
        return Question(
            engine=self.engine,
            one_tool_call=not options.pop("allow_parallel_tool_calls", True),
            messages=to_openai(messages, self.engine.pool.fingerprint),
            options=options,
            limiter=self.rate_limiter,
        )

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        history = list(chat_history or ())
        if user_msg is not None:
            user_msg = ChatMessage(content=user_msg) if isinstance(user_msg, str) else user_msg
            history.append(user_msg)
        return {
            "messages": history,
            **tool_params(tools, tool_choice, required=tool_required, strict=strict),
            # Not OpenAI's parallel_tool_calls: several providers refuse that one.
            "allow_parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The tool calls of a response, also of one that is still streaming.

        Raises:
            ValueError: There is none, and `error_on_no_tool_call`.
        """
        calls = tool_calls(response.message)
        if not calls and error_on_no_tool_call:
            raise ValueError("expected a tool call, but the response has none")
        return calls
