"""LLMs in a pool: what is known of them, how they are written down, what they answer."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    DocumentBlock,
    ImageBlock,
    LLMMetadata,
    LogProb,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms import LLM, CustomLLM, MockLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.tools import FunctionTool
from pydantic import Field, PrivateAttr

from bestroute import Arm, BestRoute, ModelPool, PooledModel, catalog
from bestroute.errors import ConfigError, PoolMismatchError, SamplingError
from bestroute.query import Request
from bestroute.sampling import Drawn, Sampler
from llamaindex_bestroute import BestRouteLLM, LLMClient
from tests.house_llm import HouseLLM, HouseText
from tests.small_router import EASY, HARD, routed

KEY = "sk-never-to-be-seen"
BIG = {"model": "openai/gpt-4o", "name": "big", "reference": True}


def house(**fields: Any) -> HouseLLM:
    return HouseLLM(**{"url": "http://127.0.0.1:9/v1", "api_key": KEY, **fields})


def pool_of(small: Any, **fields: Any) -> dict[str, Any]:
    price = {"input": 1, "output": 2}
    member = {"model": small, "name": "small", "max_samples": 3, "price": price, **fields}
    return {"models": [member, BIG]}


def member_of(small: Any, **fields: Any) -> PooledModel:
    return BestRouteLLM(pool_of(small, **fields)).engine.pool["small"]


# What is known


class Said(CustomLLM):
    """Says of itself what it is told to say."""

    said: dict[str, Any] = Field(default_factory=dict)

    @property
    def metadata(self) -> LLMMetadata:
        """What it is told to say."""
        return LLMMetadata(**self.said)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Always the same."""
        return CompletionResponse(text="ok")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Always the same."""
        yield CompletionResponse(text="ok", delta="ok")


def of_package(package: str, said: dict[str, Any]) -> LLM:
    """As an LLM of that package, which has one module and one class."""
    module = f"llama_index.llms.{package}.base"
    kind: Any = type("Packaged", (Said,), {"__module__": module, "__doc__": "One."})
    made: LLM = kind(said=said)
    return made


@pytest.mark.parametrize(
    ("package", "name", "model"),
    [
        ("openai", "gpt-4o-mini", "openai/gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("google_genai", "gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        ("vertex", "gemini-2.5-flash", "vertex_ai/gemini-2.5-flash"),
        ("bedrock_converse", "anthropic.claude-3", "bedrock/anthropic.claude-3"),
        ("azure_openai", "gpt-4o", "azure/gpt-4o"),
        ("mistralai", "mistral-small-latest", "mistral/mistral-small-latest"),
        ("openai_like", "gpt-4o", "openai_like/gpt-4o"),
        ("litellm", "groq/llama-3.1-8b-instant", "groq/llama-3.1-8b-instant"),
    ],
)
def test_the_llm_says_whose_prices_it_has(package: str, name: str, model: str) -> None:
    assert member_of(of_package(package, {"model_name": name})).model == model


def test_a_class_of_one_s_own_has_nobody_s_prices() -> None:
    member = member_of(Said(said={"model_name": "gpt-4o"}), price=None)
    assert member.model == "custom_llm/gpt-4o"
    assert catalog.price(member) is None
    assert member_of(MockLLM()).model == "MockLLM"


def test_prices_and_abilities_of_a_known_model_come_from_litellm() -> None:
    member = member_of(of_package("openai", {"model_name": "gpt-4o-mini"}), price=None)
    price = catalog.price(member)
    assert price is not None and price.cached_input is not None
    assert price.cached_input < price.input
    assert catalog.context_window(member) == 128_000
    assert catalog.can(member, "vision")
    assert catalog.native_n(member) == 1  # parallel calls, whatever the provider could do
    assert not catalog.can(member, "tools")  # the class cannot call any


def test_what_it_says_is_believed_and_the_pool_s_word_wins() -> None:
    said = {"context_window": 9000, "is_function_calling_model": True}
    member = member_of(Said(said=said))
    assert (member.context_window, member.tools) == (9000, False)  # the class cannot
    assert member_of(Said(said={})).context_window is None  # LlamaIndex's own default says nothing
    assert member_of(house()).tools
    mine = member_of(house(), context_window=99, tools=False, response_format=True)
    assert (mine.context_window, mine.tools, mine.response_format) == (99, False, True)


class Unsure(Said):
    """Looks itself up, and may fail."""

    failure: Any = None
    model: str = "mine"

    @property
    def metadata(self) -> LLMMetadata:
        """Fails."""
        raise self.failure


def test_a_model_that_its_package_does_not_know() -> None:
    with pytest.raises(ConfigError, match="Unsure does not know its model: no such model"):
        member_of(Unsure(failure=ValueError("no such model")))


def test_a_server_that_is_away_is_no_mistake_in_the_pool() -> None:
    member = member_of(Unsure(failure=ConnectionError("refused")))
    assert (member.model, member.context_window) == ("custom_llm/mine", None)


def test_what_the_model_samples_with_is_what_the_pool_says() -> None:
    assert member_of(house(temperature=0.3)).params == {"temperature": 0.3}
    assert member_of(house(temperature=0.3), params={"temperature": 1}).params["temperature"] == 1
    assert member_of(house(max_tokens=9)).params == {"max_tokens": 9}
    assert member_of(house()).params == {}


def test_an_id_of_one_s_own_and_the_llm_beside_it() -> None:
    member = member_of("openai/gpt-4o-mini", client=house())
    assert member.model == "openai/gpt-4o-mini"
    assert isinstance(member.client, LLMClient)
    unnamed = {"models": [{"model": house()}, BIG]}
    assert BestRouteLLM(unnamed).engine.pool.models[0].name == "house/small"


@pytest.mark.parametrize("wrong", [{"models": 3}, {"models": [3, BIG]}, {"models": [house()]}])
def test_a_pool_that_is_none_is_a_clear_error(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="models") as caught:
        BestRouteLLM(wrong)
    assert KEY not in str(caught.value)


def test_a_saved_router_with_llms(tmp_path: Path) -> None:
    plain = {"models": [{**each, "native_n": False} for each in pool_of("house/small")["models"]]}
    saved = routed(plain).save_pretrained(tmp_path / "router")
    llm = BestRouteLLM.from_pretrained(saved, pool=pool_of(house()))
    assert llm.engine.route(EASY[0]).arm == Arm("small", 1)
    assert llm.engine.route(HARD[0]).arm == Arm("big", 1)
    assert isinstance(llm.engine.pool["small"].client, LLMClient)
    with pytest.raises(PoolMismatchError, match="house/other"):
        BestRouteLLM.from_pretrained(saved, pool=pool_of(house(model="other")))
    renamed = pool_of("house/small", client=house(model="other"))
    assert BestRouteLLM.from_pretrained(saved, pool=renamed).engine.pool["small"].client
    again = llm.engine.save_pretrained(tmp_path / "again")
    assert not [file for file in again.iterdir() if KEY.encode() in file.read_bytes()]
    assert BestRouteLLM.from_pretrained(again).engine.pool["small"].client is None


# Written down


def test_dumps_hold_no_key_and_are_not_built_from() -> None:
    llm = BestRouteLLM(pool_of(house(temperature=0.3)), max_n=2)
    client = llm.engine.pool["small"].client
    shown = (llm.to_dict(), llm.to_json(), llm.to_payload(), llm, llm.engine.pool, client)
    assert not [text for text in map(repr, shown) if KEY in text]
    with pytest.raises(ConfigError, match=r"'small'.*build it again with pool="):
        BestRouteLLM.from_dict(llm.to_dict())
    with pytest.raises(ConfigError, match=r"'small'.*build it again with pool="):
        BestRouteLLM.from_json(llm.to_json())


class Foreign:
    """A client that is no LLM."""

    async def acompletion(self, *, messages: Any, stream: bool = False, **params: Any) -> Any:
        """Never called."""


def test_another_kind_of_client_is_missed_too() -> None:
    llm = BestRouteLLM(pool_of("house/small", client=Foreign()))
    with pytest.raises(ConfigError, match=r"'small'.*build it again with pool="):
        BestRouteLLM.from_dict(llm.to_dict())


def test_a_cache_tells_members_apart() -> None:
    def key(small: Any, **fields: Any) -> str:
        return BestRouteLLM(pool_of(small, **fields)).to_json()

    first = key(house())
    assert first == key(house()) == key(house(api_key="another"))
    others = [
        key(house(temperature=0.3)),
        key(house(url="http://127.0.0.1:8/v1")),
        key(HouseText(url="http://127.0.0.1:9/v1")),
        key("house/small"),
        key("house/small", client=Foreign()),
        key(MockLLM()),
        key(MockLLM(max_tokens=3)),
    ]
    assert len({first, *others}) == 1 + len(others)


_DIGEST = """
import json, sys
from llamaindex_bestroute import LLMClient
from tests.house_llm import HouseLLM
sys.stdout.write(repr(LLMClient(HouseLLM(url="http://127.0.0.1:9/v1", api_key=sys.argv[1]))))
"""


def test_a_cache_lasts_longer_than_the_process() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", _DIGEST, key], capture_output=True, text=True, check=True
        ).stdout
        for key in (KEY, "another")
    ]
    assert told == [repr(LLMClient(house()))] * 2


class Headed(HouseLLM):
    """Has headers, as many packages' LLMs do."""

    default_headers: dict[str, str] | None = None


def test_headers_count_and_are_never_shown() -> None:
    one, other = (
        LLMClient(Headed(url="http://127.0.0.1:9/v1", default_headers={"x-tenant": tenant}))
        for tenant in ("one", "other")
    )
    assert one != other
    assert len({one, other, LLMClient(one.llm)}) == 2
    assert "tenant" not in repr(one)


def test_a_pool_with_llms_is_not_pickled() -> None:
    llm = BestRouteLLM(pool_of(house()))
    with pytest.raises(ConfigError, match=r"HouseLLM is not pickled.*build the pool again"):
        pickle.dumps(llm)
    with pytest.raises(ConfigError, match="HouseLLM is not pickled"):
        pickle.dumps(llm.engine.pool)


def test_copies_share_the_llm() -> None:
    small = house()
    llm = copy.deepcopy(BestRouteLLM(pool_of(small)))
    client = llm.engine.pool["small"].client
    assert isinstance(client, LLMClient)
    assert client.llm is small
    assert copy.deepcopy(client) is client


# What is answered


class Scripted(FunctionCallingLLM):
    """Gives the responses that it is told to give, the last one where it does not stream."""

    responses: list[ChatResponse] = Field(default_factory=list)
    asked: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        """A little."""
        return LLMMetadata(model_name="scripted", is_function_calling_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The last one."""
        self.asked.append({"messages": messages, **kwargs})
        return self.responses[-1]

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The last one."""
        return self.chat(messages, **kwargs)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """All of them."""
        self.asked.append({"messages": messages, **kwargs})
        return iter(self.responses)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """All of them."""
        self.asked.append({"messages": messages, **kwargs})

        async def pieces() -> AsyncIterator[ChatResponse]:
            for response in self.responses:
                yield response

        return pieces()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Not needed."""
        raise NotImplementedError

    stream_complete = complete

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Not needed."""
        raise NotImplementedError

    astream_complete = acomplete

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[Any],
        user_msg: Any = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        given = {"tools": tools, "required": tool_required, "parallel": allow_parallel_tool_calls}
        return {"messages": chat_history or [], **given, "strict": strict, **kwargs}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Not needed."""
        raise NotImplementedError


def said(*blocks: Any, raw: Any = None, delta: str | None = None, **known: Any) -> ChatResponse:
    message = ChatMessage(role="assistant", blocks=list(blocks), additional_kwargs=known)
    return ChatResponse(message=message, raw=raw, delta=delta)


def text(content: str, **fields: Any) -> ChatResponse:
    return said(TextBlock(text=content), **fields)


async def drawn_from(llm: LLM, **params: Any) -> Drawn:
    member = PooledModel(model="house/small", name="small", client=LLMClient(llm))
    return await Sampler(retries=0).draw(Request.build("hi", params), member, 1)


async def streamed_from(*responses: ChatResponse) -> Drawn:
    drawn, client = Drawn(), LLMClient(Scripted(responses=list(responses)))
    member = PooledModel(model="house/small", name="small", client=client)
    async for _ in Sampler(retries=0).stream(Request.build("hi"), member, drawn):
        pass
    return drawn


async def got_from(response: ChatResponse, *, streaming: bool) -> Drawn:
    if streaming:
        return await streamed_from(response)
    return await drawn_from(Scripted(responses=[response]))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("raw", "known", "expected"),
    [
        (None, {}, "stop"),
        ({"choices": [{"finish_reason": "length"}]}, {}, "length"),
        ({"choices": [{"finish_reason": "content_filter"}]}, {}, "content_filter"),
        ({"finish_reason": "MAX_TOKENS"}, {}, "length"),
        ({"stop_reason": "end_turn"}, {}, "stop"),
        ({"stop_reason": "max_tokens"}, {}, "length"),
        ({"delta": {}}, {"stop_reason": "max_tokens"}, "length"),
        ({"stopReason": "max_tokens"}, {}, "length"),
        ({"done_reason": "length"}, {}, "length"),
        ({"status": "incomplete"}, {}, "length"),
        ({"status": "completed"}, {}, "stop"),
    ],
)
async def test_why_it_ended(
    raw: Any, known: dict[str, Any], expected: str, streaming: bool
) -> None:
    drawn = await got_from(text("hi", raw=raw, delta="hi", **known), streaming=streaming)
    assert drawn.samples[0].finish_reason == expected


# Reports in the form in which each package of LlamaIndex gives them.
OPENAI = {
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
}
RESPONSES = {
    "usage": {
        "input_tokens": 10,
        "output_tokens": 6,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 5},
    }
}
ANTHROPIC = {
    "usage": {
        "input_tokens": 3,
        "output_tokens": 6,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 3,
    }
}
BEDROCK = {
    "usage": {
        "inputTokens": 3,
        "outputTokens": 6,
        "cacheReadInputTokens": 4,
        "cacheWriteInputTokens": 3,
    }
}
GOOGLE = {
    "usage_metadata": {
        "prompt_token_count": 10,
        "candidates_token_count": 1,
        "thoughts_token_count": 5,
        "cached_content_token_count": 4,
    }
}
OLLAMA = {"prompt_eval_count": 10, "eval_count": 6}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("raw", "cached", "reasoning"),
    [
        (OPENAI, 4, 5),
        (RESPONSES, 4, 5),
        (ANTHROPIC, 4, 0),
        (BEDROCK, 4, 0),
        (GOOGLE, 4, 5),
        (OLLAMA, 0, 0),
    ],
)
async def test_usage_in_every_package_s_words(
    raw: Any, cached: int, reasoning: int, streaming: bool
) -> None:
    drawn = await got_from(text("hi", raw=raw, delta="hi"), streaming=streaming)
    usage = drawn.calls[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (10, 6)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (cached, reasoning)
    assert not usage.estimated


async def test_usage_that_comes_in_parts() -> None:
    begin = {"usage": {"input_tokens": 10, "output_tokens": 1}}  # as Anthropic's streams do
    end = {"usage": {"input_tokens": 10, "output_tokens": 6}}
    drawn = await streamed_from(
        text("h", delta="h", **begin), text("hi", delta="i", **begin), text("hi", delta="", **end)
    )
    usage = drawn.calls[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (10, 6)


async def test_usage_of_a_text_completion_is_beside_the_message() -> None:
    drawn = await drawn_from(
        Scripted(responses=[text("hi", prompt_tokens=10, completion_tokens=6)])
    )
    assert drawn.calls[0].usage.total_tokens == 16


async def test_usage_that_is_not_reported_is_estimated() -> None:
    usage = (await drawn_from(MockLLM(max_tokens=40))).calls[0].usage
    assert usage.completion_tokens > 10
    assert usage.estimated


THOUGHT = ThinkingBlock(content="hm", additional_information={"signature": "S"})
CALLS = [
    ToolCallBlock(tool_call_id="1", tool_name="f", tool_kwargs={"x": "ä"}),
    ToolCallBlock(tool_call_id="2", tool_name="g", tool_kwargs="{"),
]


@pytest.mark.parametrize("streaming", [False, True])
async def test_calls_and_thoughts_in_openai_s_format(streaming: bool) -> None:
    response = said(THOUGHT, TextBlock(text="Let me see."), *CALLS, delta="Let me see.")
    (sample,) = (await got_from(response, streaming=streaming)).samples
    assert sample.text == "Let me see."
    assert sample.message["reasoning_content"] == "hm"
    (signed,) = sample.message["thinking_blocks"]
    assert (signed["type"], signed["thinking"], signed["signature"]) == ("thinking", "hm", "S")
    assert [call["function"] for call in sample.tool_calls] == [
        {"name": "f", "arguments": '{"x": "ä"}'},
        {"name": "g", "arguments": "{"},
    ]
    assert [call["id"] for call in sample.tool_calls] == ["1", "2"]
    assert sample.finish_reason == "tool_calls"


async def test_a_stream_says_what_is_new_by_itself_or_not() -> None:
    whole = [
        said(ThinkingBlock(content="h"), delta=""),
        said(ThinkingBlock(content="hm"), TextBlock(text="a"), delta=None),
        said(ThinkingBlock(content="hm"), TextBlock(text="a b"), CALLS[0], delta=None),
        said(ThinkingBlock(content="hm"), TextBlock(text="a b"), *CALLS, delta=""),
    ]
    (sample,) = (await streamed_from(*whole)).samples
    assert (sample.text, sample.message["reasoning_content"]) == ("a b", "hm")
    assert [call["id"] for call in sample.tool_calls] == ["1", "2"]


async def test_thoughts_go_back_to_the_model_that_had_them() -> None:
    small = Scripted(responses=[said(THOUGHT, CALLS[0])])
    llm = BestRouteLLM({"models": [{"model": small, "name": "small", "reference": True}]})
    tool = FunctionTool.from_defaults(lambda x: x, name="f", description="f")
    response = await llm.achat_with_tools([tool], "hi")
    history = [ChatMessage("hi"), response.message]
    history.append(ChatMessage(role="tool", content="ok", additional_kwargs={"tool_call_id": "1"}))
    small.responses = [text("done")]
    await llm.achat(history)
    assistant = small.asked[-1]["messages"][1]
    assert assistant.blocks == [THOUGHT, CALLS[0]]


async def test_a_refusal_is_an_answer() -> None:
    raw = {"choices": [{"message": {"refusal": "I would rather not"}}]}
    (sample,) = (await drawn_from(Scripted(responses=[said(raw=raw)]))).samples
    assert sample.message["refusal"] == "I would rather not"


async def test_log_probabilities_in_llamaindex_s_form() -> None:
    def response(*alternatives: Sequence[str]) -> ChatResponse:
        made = [[LogProb(token=t, logprob=-0.5) for t in tokens] for tokens in alternatives]
        return ChatResponse(message=ChatMessage(role="assistant", content="hi"), logprobs=made)

    (sample,) = (await drawn_from(Scripted(responses=[response("h", "i")]))).samples
    assert sample.logprobs is not None
    assert [each["token"] for each in sample.logprobs["content"]] == ["h", "i"]
    assert sample.logprob == -0.5
    # Which of several was taken is not told.
    (other,) = (await drawn_from(Scripted(responses=[response("hj", "ik")]))).samples
    assert other.logprobs is None


async def test_nothing_is_said_aloud(capfd: pytest.CaptureFixture[str]) -> None:
    await streamed_from(text("hi", raw=OPENAI, delta="hi"))
    await drawn_from(Scripted(responses=[text("hi", raw=OPENAI)]))
    assert capfd.readouterr().out == ""


# What is asked

TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "Does it.",
        "parameters": {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/X"}},
            "required": ["x"],
            "additionalProperties": False,
            "$defs": {"X": {"enum": ["a", "b"]}},
        },
    },
}
OTHER = {"type": "function", "function": {"name": "other"}}


@pytest.mark.parametrize(
    ("choice", "offered", "required"),
    [
        (None, ["f", "other"], False),
        ("auto", ["f", "other"], False),
        ("required", ["f", "other"], True),
        ({"type": "function", "function": {"name": "f"}}, ["f"], True),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}, ["f", "other"], False),
    ],
)
async def test_a_tool_choice_in_the_words_of_every_package(
    choice: Any, offered: list[str], required: bool
) -> None:
    llm = Scripted(responses=[text("ok")])
    await drawn_from(llm, tools=[TOOL, OTHER], tool_choice=choice, parallel_tool_calls=False)
    (asked,) = llm.asked
    assert [tool.metadata.name for tool in asked["tools"]] == offered
    assert (asked["required"], asked["parallel"], asked["strict"]) == (required, False, None)


async def test_where_no_tool_may_be_called_none_is_offered() -> None:
    llm = Scripted(responses=[text("ok")])
    await drawn_from(llm, tools=[TOOL], tool_choice="none")
    assert llm.asked[0].keys() == {"messages"}


async def test_a_tool_is_offered_as_it_was_given() -> None:
    llm = Scripted(responses=[text("ok")])
    strict = {**TOOL, "function": {**TOOL["function"], "strict": True}}  # type: ignore[dict-item]
    await drawn_from(llm, tools=[strict])
    (asked,) = llm.asked
    metadata = asked["tools"][0].metadata
    assert metadata.to_openai_tool() == TOOL
    assert metadata.fn_schema.model_json_schema() == TOOL["function"]["parameters"]  # type: ignore[index]
    assert metadata.get_parameters_dict() == TOOL["function"]["parameters"]  # type: ignore[index]
    assert asked["strict"] is True
    with pytest.raises(NotImplementedError, match="not run here"):
        asked["tools"][0](1)


async def test_llamaindex_s_own_mock_calls_tools() -> None:
    (sample,) = (await drawn_from(MockFunctionCallingLLM(), tools=[TOOL])).samples
    assert [call["function"]["name"] for call in sample.tool_calls] == ["f"]


async def test_an_llm_that_cannot_call_tools_fails() -> None:
    drawn = await drawn_from(MockLLM(), tools=[TOOL])
    assert not drawn.samples
    assert str(drawn.failures[0]) == "MockLLM cannot call tools"


async def test_a_tool_that_is_no_function_fails() -> None:
    llm = Scripted(responses=[text("ok")])
    drawn = await drawn_from(llm, tools=[TOOL, {"type": "web_search"}])
    assert not llm.asked
    assert str(drawn.failures[0]) == "a tool of type 'web_search' is no tool of LlamaIndex's"


async def test_other_parameters_are_arguments_of_the_call() -> None:
    llm = Scripted(responses=[text("ok")])
    await drawn_from(llm, top_p=0.5, tool_choice="auto", parallel_tool_calls=True)
    assert llm.asked[0].keys() == {"messages", "top_p"}


DATA = "aGVsbG8="  # hello

PARTS: list[dict[str, Any]] = [
    {"type": "text", "text": "What is it?", "cache_control": {"type": "ephemeral"}},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
    {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{DATA}"}},
    {"type": "input_audio", "input_audio": {"data": DATA, "format": "mp3"}},
    {
        "type": "file",
        "file": {"file_data": f"data:application/pdf;base64,{DATA}", "filename": "a.pdf"},
    },
    {
        "type": "file",
        "file": {
            "file_data": f"data:video/mp4;base64,{DATA}",
            "filename": "video",
            "video_metadata": {"fps": 2},
        },
    },
]


async def blocks_of(llm: Scripted, *parts: dict[str, Any]) -> list[Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": list(parts)}]
    await LLMClient(llm).acompletion(messages=messages)
    found: list[Any] = llm.asked[-1]["messages"][0].blocks
    return found


async def test_every_kind_of_part_is_a_block() -> None:
    llm = Scripted(responses=[text("ok")])
    says, far, near, audio, pdf, video = await blocks_of(llm, *PARTS)
    assert says == TextBlock(text="What is it?")
    assert isinstance(far, ImageBlock)
    assert (str(far.url), far.detail) == ("https://example.com/a.png", "low")
    assert isinstance(near, ImageBlock)
    assert (near.resolve_image().read(), near.image_mimetype) == (b"hello", "image/jpeg")
    assert isinstance(audio, AudioBlock)
    assert (audio.resolve_audio().read(), audio.format) == (b"hello", "mp3")
    assert isinstance(pdf, DocumentBlock)
    assert (pdf.resolve_document().read(), pdf.title) == (b"hello", "a.pdf")
    assert pdf.document_mimetype == "application/pdf"
    assert isinstance(video, VideoBlock)
    assert (video.resolve_video().read(), video.video_mimetype) == (b"hello", "video/mp4")
    assert video.fps == 2


async def test_a_mark_of_the_cache_is_a_block_for_those_that_know_it() -> None:
    module = "llama_index.llms.anthropic.base"
    kind: Any = type("Knows", (Scripted,), {"__module__": module, "__doc__": "One."})
    says, point = await blocks_of(kind(responses=[text("ok")]), PARTS[0])
    assert isinstance(says, TextBlock)
    assert isinstance(point, CachePoint)
    assert point.cache_control.type == "ephemeral"


@pytest.mark.parametrize(
    "part",
    [{"type": "hologram"}, {"type": "file", "file": {"file_id": "f1"}}],
)
async def test_what_has_no_block_fails(part: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no block of LlamaIndex's"):
        await blocks_of(Scripted(responses=[text("ok")]), part)


# How it is asked


def alone(small: LLM, **fields: Any) -> BestRouteLLM:
    """Nobody else can answer but a reference that says so."""
    big = {"model": Scripted(responses=[text("big")]), "name": "big", "reference": True}
    member, _ = pool_of(small, **fields)["models"]
    pool = {"models": [member, {**big, "price": {"input": 9, "output": 9}}]}
    return BestRouteLLM(pool, max_retries=0)


class Quoting(Scripted):
    """Writes none of its keys down, as many packages; its provider quotes them."""

    api_key: str = Field(default="kept-between-us", exclude=True)
    _token: str = PrivateAttr(default="between-us-too")

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Nothing."""
        raise RuntimeError(f"{self.api_key} and {self._token} are not known here")


async def test_what_it_raises_does_not_quote_keys_that_it_does_not_write_down() -> None:
    client = LLMClient(Quoting())
    with pytest.raises(RuntimeError, match=r"^\*\*\* and \*\*\* are not known here$"):
        await client.acompletion(messages=[{"role": "user", "content": "hi"}])


class Keyless(Scripted):
    """Has no key, and asks nobody."""

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Nothing."""
        raise ValueError("Set HOUSE_API_KEY.")


async def test_a_missing_key_is_not_the_pool_s() -> None:
    (call,) = (await drawn_from(Keyless())).calls
    assert call.error == "no API key (Set HOUSE_API_KEY)"


class Narrow(Scripted):
    """Takes no arguments beside the messages."""

    async def achat(self, messages: Sequence[ChatMessage]) -> ChatResponse:  # type: ignore[override]
        """The last one."""
        return self.responses[-1]


async def test_what_it_does_not_take_the_next_model_may() -> None:
    llm = alone(Narrow(responses=[text("small")]))
    assert (await llm.acomplete("hi")).text == "small"
    response = await llm.acomplete("hi", top_p=0.5)
    assert response.text == "big"
    assert "unexpected keyword argument 'top_p'" in str(response.raw["bestroute"]["degraded"])


class Hanging(Said):
    """Comes to no end until it is let go, and has sync methods alone."""

    let_go: Any = Field(default_factory=threading.Event, exclude=True)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Late."""
        self.let_go.wait(60)
        return CompletionResponse(text="late")


def waiting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "bestroute-call"]


@pytest.mark.timeout(250)
@pytest.mark.parametrize("door", ["complete", "acomplete"])
async def test_a_member_that_hangs_holds_up_no_other(door: str) -> None:
    hanging, healthy = Hanging(), Said()
    slow, fast = alone(hanging, params={"timeout": 0.5}), alone(healthy, params={"timeout": 30})
    slow.engine.breaker.failures = 10**9  # it would let the model rest
    count = 30
    if door == "complete":
        with ThreadPoolExecutor(count) as threads:
            late = list(threads.map(slow.complete, ["hi"] * count))
        response = await asyncio.to_thread(fast.complete, "hi")
    else:
        late = await asyncio.gather(*(slow.acomplete("hi") for _ in range(count)))
        response = await fast.acomplete("hi")
    try:
        assert {each.text for each in late} == {"big"}
        assert response.text == "ok"
        assert not response.raw["bestroute"]["degraded"]
        assert len(waiting()) >= 3 * count
        assert all(thread.daemon for thread in waiting())  # the process may end
    finally:
        hanging.let_go.set()
    for thread in waiting():
        thread.join(10)
    assert not waiting()


class Scoped(Scripted):
    """Has async methods only, and a time limit of its own around each."""

    limit: float | None = 20
    pause: float = 0
    ended: list[str] = Field(default_factory=list)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Not here."""
        raise NotImplementedError("async only")

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """Not here."""
        raise NotImplementedError("async only")

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The whole answer."""
        with anyio.fail_after(20):
            await anyio.sleep(0)
        return text("a b")

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """Two pieces."""

        async def pieces() -> AsyncIterator[ChatResponse]:
            try:
                with anyio.fail_after(self.limit):
                    yield text("a ", delta="a ")
                    await anyio.sleep(self.pause)
                    yield text("a b", delta="b")
            finally:
                self.ended.append("yes")

        return pieces()


async def pieces_of(llm: BestRouteLLM, door: str) -> list[str]:
    messages = [ChatMessage("hi")]
    if door == "chat":
        responses = [await asyncio.to_thread(llm.chat, messages, model="small")]
    elif door == "achat":
        responses = [await llm.achat(messages, model="small")]
    elif door == "stream_chat":
        responses = await asyncio.to_thread(lambda: list(llm.stream_chat(messages, model="small")))
    else:
        responses = [each async for each in await llm.astream_chat(messages, model="small")]
    if "stream" in door:
        return [each.delta for each in responses if each.delta]
    return [each.message.content or "" for each in responses]


@pytest.mark.parametrize("door", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_async_methods_with_cancel_scopes_serve_all_callers(door: str) -> None:
    pieces = await pieces_of(alone(Scoped()), door)
    assert "".join(pieces) == "a b"
    assert len(pieces) == (2 if "stream" in door else 1)


@pytest.mark.parametrize("door", ["stream_chat", "astream_chat"])
async def test_a_cancel_scope_is_left_where_it_was_entered(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = Scoped(pause=30)
    with pytest.raises(SamplingError, match=r"TimeoutError: nothing came within 0\.3 seconds"):
        await pieces_of(alone(model, params={"timeout": 0.3}), door)
    assert model.ended == ["yes"]
    assert not [record for record in caplog.records if record.name == "asyncio"]


class Silent(Scripted):
    """Cannot stream."""

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """Not here."""
        raise NotImplementedError("no streams")

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """Not here."""
        raise NotImplementedError("no streams")


@pytest.mark.parametrize("delta", [None, ""])
@pytest.mark.parametrize("door", ["stream_chat", "astream_chat"])
async def test_an_llm_that_cannot_stream_brings_one_piece(door: str, delta: str | None) -> None:
    assert await pieces_of(alone(Silent(responses=[text("a b", delta=delta)])), door) == ["a b"]


@pytest.mark.parametrize("door", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_an_llm_that_implements_nothing_fails(door: str) -> None:
    class Nothing(Silent):
        """Has no method at all."""

        def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
            """Not here."""
            raise NotImplementedError("nothing")

    with pytest.raises(SamplingError, match="NotImplementedError"):
        await pieces_of(alone(Nothing(responses=[text("a b")])), door)


@pytest.mark.parametrize("door", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_a_router_may_be_a_member_of_another(door: str) -> None:
    inner = BestRouteLLM({"models": [{"model": Said(), "name": "in", "reference": True}]})
    assert "".join(await pieces_of(alone(inner), door)) == "ok"


def test_an_engine_of_one_s_own() -> None:
    pool = ModelPool(
        models=(PooledModel(model="mine", reference=True, client=LLMClient(MockLLM())),)
    )
    assert BestRoute(pool).complete("one two").text.startswith("user: one two")


def lines() -> Iterator[str]:
    """Modules of frameworks that importing ours brings."""
    code = "import sys, llamaindex_bestroute; print(json.dumps(sorted(sys.modules)))"
    run = [sys.executable, "-c", f"import json; {code}"]
    yield from json.loads(subprocess.run(run, capture_output=True, check=True).stdout)


def test_importing_brings_neither_litellm_nor_a_provider_s_package() -> None:
    assert not [
        name for name in lines() if name.startswith(("litellm", "llama_index.llms.", "openai"))
    ]
