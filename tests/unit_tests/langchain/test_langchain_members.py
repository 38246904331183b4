"""Chat models in a pool: what is known of them, how they are written down, what they answer."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel, LangSmithParams
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, SecretStr

from bestroute import Arm, ModelPool, PooledModel, catalog
from bestroute.errors import ConfigError, PoolMismatchError, SamplingError
from bestroute.query import Request
from bestroute.sampling import Drawn, Sampler
from langchain_bestroute import BestRouteRouter, ChatBestRoute, ChatModelClient
from tests.house_chat import HouseChat
from tests.small_router import EASY, HARD, routed

KEY = "sk-never-to-be-seen"
BIG = {"model": "openai/gpt-4o", "name": "big", "reference": True}


def house(**fields: Any) -> HouseChat:
    return HouseChat(**{"url": "http://127.0.0.1:9/v1", "api_key": KEY, **fields})


def pool_of(small: BaseChatModel | str, **fields: Any) -> dict[str, Any]:
    price = {"input": 1, "output": 2}
    member = {"model": small, "name": "small", "max_samples": 3, "price": price, **fields}
    return {"models": [member, BIG]}


def member_of(small: BaseChatModel | str, **fields: Any) -> PooledModel:
    return ChatBestRoute(pool=pool_of(small, **fields)).engine.pool["small"]


# What is known


class Described(FakeListChatModel):
    """Says of itself what it is told to say."""

    responses: list[str] = Field(default_factory=lambda: ["ok"])
    said: dict[str, Any] = Field(default_factory=dict)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(**self.said)


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("openai", "gpt-4o-mini", "openai/gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("google_genai", "models/gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        ("google_vertexai", "gemini-2.5-flash", "vertex_ai/gemini-2.5-flash"),
        ("amazon_bedrock", "anthropic.claude-3", "bedrock/anthropic.claude-3"),
        ("azure", "gpt-4o", "azure/gpt-4o"),
        ("mistral", "mistral-small-latest", "mistral/mistral-small-latest"),
        ("NVIDIA", "meta/llama3-8b", "nvidia_nim/meta/llama3-8b"),
        ("litellm", "groq/llama-3.1-8b-instant", "groq/llama-3.1-8b-instant"),
        ("house", None, "house/fake-list-chat-model"),
    ],
)
def test_the_model_says_whose_prices_it_has(provider: str, name: str | None, model: str) -> None:
    said = {"ls_provider": provider, **({"ls_model_name": name} if name else {})}
    assert member_of(Described(said=said)).model == model


def test_prices_and_abilities_of_a_known_model_come_from_litellm() -> None:
    said = {"ls_provider": "openai", "ls_model_name": "gpt-4o-mini"}
    member = member_of(Described(said=said), price=None)
    price = catalog.price(member)
    assert price is not None and price.cached_input is not None
    assert price.cached_input < price.input
    assert catalog.context_window(member) == 128_000
    assert catalog.can(member, "vision")
    assert catalog.native_n(member) == 1  # parallel calls, whatever the provider could do
    assert not catalog.can(member, "tools")  # the class cannot bind any


def test_the_model_s_profile_is_believed_and_the_pool_s_word_wins() -> None:
    profile: Any = {"max_input_tokens": 9, "image_inputs": True, "tool_calling": False}
    member = member_of(house(profile=profile))
    assert (member.context_window, member.vision, member.tools) == (9, True, False)
    assert member.audio is None
    mine = member_of(house(profile=profile), context_window=99, vision=False)
    assert (mine.context_window, mine.vision) == (99, False)


def test_what_the_model_samples_with_is_what_the_pool_says() -> None:
    assert member_of(house(temperature=0.3)).params == {"temperature": 0.3}
    assert member_of(house(temperature=0.3), params={"temperature": 1}).params["temperature"] == 1
    assert member_of(house()).params == {}


def test_an_id_of_one_s_own_and_the_chat_model_beside_it() -> None:
    member = member_of("openai/gpt-4o-mini", client=house())
    assert member.model == "openai/gpt-4o-mini"
    assert isinstance(member.client, ChatModelClient)
    unnamed = {"models": [{"model": house()}, BIG]}
    assert ChatBestRoute(pool=unnamed).engine.pool.models[0].name == "house/small"


@pytest.mark.parametrize("wrong", [{"models": 3}, {"models": [3, BIG]}, {"models": [house()]}])
def test_a_pool_that_is_none_is_a_clear_error(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="models"):
        ChatBestRoute(pool=wrong)


def test_a_saved_router_with_chat_models(tmp_path: Path) -> None:
    plain = {"models": [{**each, "native_n": False} for each in pool_of("house/small")["models"]]}
    saved = routed(plain).save_pretrained(tmp_path / "router")
    llm = ChatBestRoute.from_pretrained(saved, pool=pool_of(house()))
    assert llm.engine.route(EASY[0]).arm == Arm("small", 1)
    assert llm.engine.route(HARD[0]).arm == Arm("big", 1)
    assert isinstance(llm.engine.pool["small"].client, ChatModelClient)
    with pytest.raises(PoolMismatchError, match="house/other"):
        ChatBestRoute.from_pretrained(saved, pool=pool_of(house(model="other")))
    renamed = pool_of("house/small", client=house(model="other"))
    assert ChatBestRoute.from_pretrained(saved, pool=renamed).engine.pool["small"].client
    again = llm.engine.save_pretrained(tmp_path / "again")
    assert not [file for file in again.iterdir() if KEY.encode() in file.read_bytes()]
    assert ChatBestRoute.from_pretrained(again).engine.pool["small"].client is None


# Written down


def revived(llm: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # load is in beta
        return load(
            dumpd(llm),
            allowed_objects=[type(llm), HouseChat],
            valid_namespaces=["langchain_bestroute", "tests"],
            secrets_from_env=True,
        )


@pytest.mark.parametrize("kind", [ChatBestRoute, BestRouteRouter])
def test_dumps_hold_the_members_and_no_key(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = kind(pool=pool_of(house(temperature=0.3)), max_n=2)
    shown = [dumps(llm), repr(llm), str(llm.model_dump()), llm.model_dump_json()]
    assert not [text for text in shown if KEY in text]
    monkeypatch.setenv("HOUSE_API_KEY", "sk-of-the-environment")
    again = revived(llm)
    client = again.engine.pool["small"].client
    assert client == llm.engine.pool["small"].client
    assert client.chat_model.temperature == 0.3
    assert client.chat_model.api_key.get_secret_value() == "sk-of-the-environment"
    assert again.max_n == 2
    assert dumps(again) == dumps(llm)


def test_a_member_that_cannot_be_written_down_is_missed_when_it_is_read() -> None:
    llm = ChatBestRoute(pool=pool_of(FakeListChatModel(responses=[KEY])))
    assert KEY not in dumps(llm)
    with pytest.raises(ConfigError, match=r"'small'.*build it again with pool="):
        revived(llm)


class Foreign:
    """A client that is no chat model."""

    async def acompletion(self, *, messages: Any, stream: bool = False, **params: Any) -> Any:
        """Never called."""


def test_another_kind_of_client_is_missed_too() -> None:
    llm = ChatBestRoute(pool=pool_of("house/small", client=Foreign()))
    with pytest.raises(ConfigError, match=r"'small'.*build it again with pool="):
        revived(llm)


def test_a_cached_answer_belongs_to_its_members() -> None:
    def key(small: Any, **fields: Any) -> str:
        return ChatBestRoute(pool=pool_of(small, **fields))._get_llm_string()

    first = key(house())
    assert first == key(house()) == key(house(api_key="another"))
    others = [
        key(house(temperature=0.3)),
        key(house(url="http://127.0.0.1:8/v1")),
        key("house/small"),
        key("house/small", client=Foreign()),
        key(FakeListChatModel(responses=["a"])),
        key(FakeListChatModel(responses=["b"])),
    ]
    assert len({first, *others}) == 1 + len(others)


def test_pickles_hold_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = ChatBestRoute(pool=pool_of(house(temperature=0.3)))
    pickled = pickle.dumps(llm)
    assert KEY.encode() not in pickled
    monkeypatch.setenv("HOUSE_API_KEY", "sk-of-the-environment")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = pickle.loads(pickled).engine.pool["small"].client
    assert client.chat_model.temperature == 0.3
    assert client.chat_model.api_key.get_secret_value() == "sk-of-the-environment"


class Closed(FakeListChatModel):
    """LangChain does not know which of its fields is a key."""

    responses: list[str] = Field(default_factory=lambda: ["ok"])
    key: SecretStr


def test_what_langchain_cannot_write_down_is_not_pickled() -> None:
    llm = ChatBestRoute(pool=pool_of(Closed(key=SecretStr(KEY))))
    with pytest.raises(ConfigError, match=r"Closed is not pickled.*build the pool again"):
        pickle.dumps(llm)


class Headed(HouseChat):
    """Has headers, as many packages' models do."""

    default_headers: dict[str, str] | None = None
    client_args: dict[str, Any] = Field(default_factory=dict)


def headed(**fields: Any) -> Headed:
    return Headed(url="http://127.0.0.1:9/v1", **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"default_headers": {"x-tenant": KEY}},
        {"client_args": {"extra_headers": {"x-tenant": KEY}}},
        {"client_args": {"upstreams": [{"default_query": {"sig": KEY}}]}},
    ],
)
def test_headers_of_a_member_are_not_written_down(fields: dict[str, Any]) -> None:
    llm = ChatBestRoute(pool=pool_of(headed(**fields)))
    shown = [dumps(llm), repr(llm), str(llm.model_dump()), llm._get_llm_string()]
    assert not [text for text in shown if KEY in text]
    with pytest.raises(ConfigError, match=r"'small'.*build it again with pool="):
        revived(llm)
    with pytest.raises(ConfigError, match="Headed is not pickled"):
        pickle.dumps(llm)


def test_without_headers_it_is_written_down() -> None:
    member = headed(default_headers={})
    assert "small" in dumpd(ChatBestRoute(pool=pool_of(member)))["kwargs"]["chat_models"]


OTHER_PROCESS = """
from tests.unit_tests.langchain.test_langchain_members import KEY, ChatModelClient, headed

print(ChatModelClient(headed(default_headers={"x-tenant": KEY})), ChatModelClient(headed()))
"""


def test_headers_tell_members_apart_and_nobody_can_guess_them() -> None:
    def digest(tenant: str) -> str:
        return repr(ChatModelClient(headed(default_headers={"x-tenant": tenant})))

    assert digest(KEY) == digest(KEY) != digest("b")
    ran = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS], capture_output=True, text=True, check=True
    )
    assert digest(KEY) not in ran.stdout  # made with a key of the process
    assert repr(ChatModelClient(headed())) in ran.stdout


class Quoting(FakeListChatModel):
    """Its provider quotes the key that it does not know, which looks like any word."""

    responses: list[str] = Field(default_factory=lambda: ["ok"])
    house_key: SecretStr = SecretStr("kept-between-us")

    def _call(self, *args: Any, **kwargs: Any) -> str:
        raise RuntimeError(f"{self.house_key.get_secret_value()} is not known here")

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        self._call()
        yield ChatGenerationChunk(message=AIMessageChunk(content=""))


@pytest.mark.parametrize("streaming", [False, True])
async def test_what_a_member_raises_does_not_quote_its_key(streaming: bool) -> None:
    client = member_of(Quoting()).client
    assert client is not None
    with pytest.raises(RuntimeError, match=r"^\*\*\* is not known here$"):
        await client.acompletion(messages=[{"role": "user", "content": "hi"}], stream=streaming)


def test_copies_share_the_chat_model() -> None:
    small = house()
    llm = ChatBestRoute(pool=pool_of(small))
    for same in (llm.model_copy(update={"max_n": 1}), copy.deepcopy(llm), copy.copy(llm)):
        assert same.engine.pool["small"].client.chat_model is small
    pool = copy.deepcopy(llm.engine.pool)
    assert pool["small"].client.chat_model is small  # type: ignore[union-attr]
    assert pool == llm.engine.pool
    assert ModelPool.read(pool) is pool


# What it answers


class Scripted(BaseChatModel):
    """Answers with one message, or streams its chunks."""

    message: AIMessage = Field(default_factory=lambda: AIMessage("ok"))
    chunks: list[AIMessageChunk] = Field(default_factory=list)
    asked: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Keep what is bound."""
        return self.bind(tools=tools, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.asked.append({**kwargs, "messages": messages})
        return ChatResult(generations=[ChatGeneration(message=self.message)])


class Streamed(Scripted):
    """Can stream."""

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield from (ChatGenerationChunk(message=chunk) for chunk in self.chunks)


async def drawn_from(model: BaseChatModel, **params: Any) -> Drawn:
    member = PooledModel(model="house/small", name="small", client=ChatModelClient(model))
    return await Sampler(retries=0).draw(Request.build("hi", params), member, 1)


async def streamed_from(*chunks: AIMessageChunk) -> Drawn:
    drawn, client = Drawn(), ChatModelClient(Streamed(chunks=list(chunks)))
    member = PooledModel(model="house/small", name="small", client=client)
    async for _ in Sampler(retries=0).stream(Request.build("hi"), member, drawn):
        pass
    return drawn


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, "stop"),
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "length"}, "length"),
        ({"finish_reason": "content_filter"}, "content_filter"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({"stop_reason": "max_tokens"}, "length"),
        ({"stopReason": "max_tokens"}, "length"),
        ({"done_reason": "length"}, "length"),
        ({"status": "incomplete"}, "length"),
        ({"status": "completed"}, "stop"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_why_it_ended(metadata: dict[str, Any], expected: str, streaming: bool) -> None:
    if streaming:
        end = AIMessageChunk("", response_metadata=metadata)
        drawn = await streamed_from(AIMessageChunk("hi"), end)
    else:
        drawn = await drawn_from(Scripted(message=AIMessage("hi", response_metadata=metadata)))
    assert drawn.samples[0].finish_reason == expected


CALL = {"name": "f", "args": {"x": "ä"}, "id": "1", "type": "tool_call"}
BROKEN = {"name": "g", "args": "{", "id": "2", "error": "", "type": "invalid_tool_call"}


async def test_calls_thoughts_and_blocks_in_openai_s_format() -> None:
    blocks: list[Any] = [
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "text", "text": "Let me "},
        {"type": "text", "text": "see."},
        {"type": "tool_call", **{key: CALL[key] for key in ("name", "args", "id")}},
    ]
    message = AIMessage(content=blocks, tool_calls=[CALL], invalid_tool_calls=[BROKEN])
    sample = (await drawn_from(Scripted(message=message))).samples[0]
    assert sample.text == "Let me see."
    assert sample.message["reasoning_content"] == "hm"
    assert [call["function"] for call in sample.tool_calls] == [
        {"name": "f", "arguments": '{"x": "ä"}'},
        {"name": "g", "arguments": "{"},
    ]
    assert [call["id"] for call in sample.tool_calls] == ["1", "2"]
    assert sample.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("provider", "thought"),
    [
        ("anthropic", {"type": "thinking", "thinking": "hm", "signature": "x"}),
        ("openai", {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}),
    ],
)
async def test_blocks_in_a_provider_s_own_words(provider: str, thought: dict[str, Any]) -> None:
    used = {"type": "tool_use", "id": "1", "name": "f", "input": {"x": "ä"}}
    blocks: list[Any] = [thought, {"type": "text", "text": "Well"}, used]
    said = {"stop_reason": "tool_use", "model_provider": provider}
    message = AIMessage(content=blocks, tool_calls=[CALL], response_metadata=said)
    sample = (await drawn_from(Scripted(message=message))).samples[0]
    assert (sample.text, sample.message["reasoning_content"]) == ("Well", "hm")
    assert [call["function"]["name"] for call in sample.tool_calls] == ["f"]
    assert sample.finish_reason == "tool_calls"


LOGPROBS = {
    "content": [
        {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []} for token in ("h", "i")
    ]
}


@pytest.mark.parametrize("streaming", [False, True])
async def test_log_probabilities(streaming: bool) -> None:
    if streaming:
        drawn = await streamed_from(
            *(
                AIMessageChunk(each["token"], response_metadata={"logprobs": {"content": [each]}})
                for each in LOGPROBS["content"]
            ),
            AIMessageChunk("", response_metadata={"logprobs": None, "finish_reason": "stop"}),
        )
    else:
        message = AIMessage("hi", response_metadata={"logprobs": {**LOGPROBS, "refusal": None}})
        drawn = await drawn_from(Scripted(message=message))
    (sample,) = drawn.samples
    assert sample.text == "hi"
    assert sample.logprobs is not None
    assert sample.logprobs["content"] == LOGPROBS["content"]


async def test_log_probabilities_in_another_form_are_no_failure() -> None:
    message = AIMessage("hi", response_metadata={"logprobs": [{"token": "hi", "logprob": -0.5}]})
    (sample,) = (await drawn_from(Scripted(message=message))).samples
    assert sample.logprobs is None


async def test_thoughts_of_the_older_kind() -> None:
    message = AIMessage("hi", additional_kwargs={"reasoning_content": "hm"})
    sample = (await drawn_from(Scripted(message=message))).samples[0]
    assert sample.message["reasoning_content"] == "hm"


def chunk_of(*calls: dict[str, Any], text: str = "") -> AIMessageChunk:
    return AIMessageChunk(text, tool_call_chunks=[tool_call_chunk(**call) for call in calls])


@pytest.mark.parametrize("numbers", [(0, 1), (1, 2), (None, None)])
async def test_streamed_calls_are_put_together(numbers: tuple[Any, Any]) -> None:
    first, second = numbers
    chunks = [chunk_of({"name": "f", "args": '{"x":1}', "id": "1", "index": first}, text="Well")]
    if first is not None:
        chunks[0].tool_call_chunks[0]["args"] = '{"x"'
        chunks.append(chunk_of({"name": None, "args": ":1}", "id": None, "index": first}))
    chunks.append(chunk_of({"name": "g", "args": "{}", "id": "2", "index": second}))
    sample = (await streamed_from(*chunks)).samples[0]
    assert sample.text == "Well"
    assert [call["function"] for call in sample.tool_calls] == [
        {"name": "f", "arguments": '{"x":1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert sample.finish_reason == "tool_calls"


USAGE: Any = {
    "input_tokens": 10,
    "output_tokens": 6,
    "total_tokens": 16,
    "input_token_details": {"cache_read": 4},
    "output_token_details": {"reasoning": 5},
}


@pytest.mark.parametrize("way", ["whole", "one chunk", "two chunks"])
async def test_usage_with_its_details(way: str) -> None:
    if way == "whole":
        drawn = await drawn_from(Scripted(message=AIMessage("hi", usage_metadata=USAGE)))
    elif way == "one chunk":
        drawn = await streamed_from(AIMessageChunk("hi", usage_metadata=USAGE))
    else:  # the prompt's at the beginning, the answer's at the end
        begin = {"input_tokens": 10, "output_tokens": 0, "total_tokens": 10}
        end = {"input_tokens": 0, "output_tokens": 6, "total_tokens": 6}
        details = {"input_token_details": {"cache_read": 4}}
        reasoning = {"output_token_details": {"reasoning": 5}}
        drawn = await streamed_from(
            AIMessageChunk("h", usage_metadata={**begin, **details}),  # type: ignore[typeddict-item]
            AIMessageChunk("i", usage_metadata={**end, **reasoning}),  # type: ignore[typeddict-item]
        )
    usage = drawn.calls[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (10, 6)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (4, 5)
    assert not usage.estimated


async def test_nothing_is_said_aloud(capfd: pytest.CaptureFixture[str]) -> None:
    await streamed_from(AIMessageChunk("hi", usage_metadata=USAGE))
    await drawn_from(Scripted(message=AIMessage("hi", usage_metadata=USAGE)))
    assert capfd.readouterr().out == ""


async def test_usage_that_is_not_reported_is_estimated() -> None:
    usage = (await drawn_from(Scripted(message=AIMessage("x" * 40)))).calls[0].usage
    assert usage.completion_tokens == 10
    assert usage.estimated


async def test_a_model_that_cannot_stream_brings_one_piece() -> None:
    message = AIMessage("hi there", usage_metadata=USAGE, tool_calls=[CALL])
    drawn, client = Drawn(), ChatModelClient(Scripted(message=message))
    member = PooledModel(model="house/small", name="small", client=client)
    pieces = [each async for each in Sampler().stream(Request.build("hi"), member, drawn)]
    assert "".join(piece.text for piece in pieces) == "hi there"
    assert json.loads(drawn.samples[0].tool_calls[0]["function"]["arguments"]) == {"x": "ä"}
    assert drawn.calls[0].usage.completion_tokens == 6


@pytest.mark.parametrize(
    ("choice", "bound"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "any"),
        ({"type": "function", "function": {"name": "f"}}, "f"),
    ],
)
async def test_a_tool_choice_in_the_words_of_every_package(choice: Any, bound: Any) -> None:
    model = Scripted()
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    await drawn_from(model, tools=tools, tool_choice=choice, parallel_tool_calls=False)
    (asked,) = model.asked
    assert (asked["tools"], asked["tool_choice"]) == (tools, bound)
    assert asked["parallel_tool_calls"] is False


class Warm(Scripted):
    """Has a temperature."""

    temperature: float = 0.5


async def test_what_the_model_says_anyway_is_not_said_again() -> None:
    model = Warm()
    for temperature in (0.5, 0.7):
        await drawn_from(model, temperature=temperature)
    assert [asked.get("temperature") for asked in model.asked] == [None, 0.7]


async def test_without_tools_nothing_is_bound() -> None:
    model = Scripted()
    await drawn_from(model, tool_choice="auto", parallel_tool_calls=True, top_p=0.5)
    (asked,) = model.asked
    assert asked.keys() == {"messages", "top_p"}


# How it is asked


def alone(small: BaseChatModel, **fields: Any) -> ChatBestRoute:
    """Nobody else can answer but a reference that says so."""
    big = {"model": FakeListChatModel(responses=["big"]), "name": "big", "reference": True}
    member, _ = pool_of(small, **fields)["models"]
    return ChatBestRoute(
        pool={"models": [member, {**big, "price": {"input": 9, "output": 9}}]}, max_retries=0
    )


class Hanging(BaseChatModel):
    """Comes to no end until it is let go."""

    let_go: Any = Field(default_factory=threading.Event)

    @property
    def _llm_type(self) -> str:
        return "hanging"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self.let_go.wait(60)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("late"))])


def waiting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "bestroute-call"]


@pytest.mark.timeout(250)
@pytest.mark.parametrize("door", ["invoke", "ainvoke"])
async def test_a_member_that_hangs_holds_up_no_other(door: str) -> None:
    hanging, healthy = Hanging(), FakeListChatModel(responses=["quick"])
    slow, fast = alone(hanging, params={"timeout": 0.5}), alone(healthy, params={"timeout": 30})
    slow.engine.breaker.failures = 10**9  # it would let the model rest
    count = 50
    if door == "invoke":
        with ThreadPoolExecutor(count) as threads:
            late = list(threads.map(slow.invoke, ["hi"] * count))
        message = await asyncio.to_thread(fast.invoke, "hi")
    else:
        late = await asyncio.gather(*(slow.ainvoke("hi") for _ in range(count)))
        message = await fast.ainvoke("hi")
    try:
        assert {each.content for each in late} == {"big"}
        assert message.content == "quick"
        assert not message.response_metadata["bestroute"]["degraded"]
        assert len(waiting()) >= 3 * count
        assert all(thread.daemon for thread in waiting())  # the process may end
    finally:
        hanging.let_go.set()
    for thread in waiting():
        thread.join(10)
    assert not waiting()


class Asking(Hanging):
    """Asks another one, once all calls are under way."""

    another: Any
    everyone: Any

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self.everyone.wait()
        return ChatResult(generations=[ChatGeneration(message=self.another.invoke("hi"))])


@pytest.mark.timeout(250)
def test_members_may_ask_members() -> None:
    requests = 45
    another = alone(FakeListChatModel(responses=["deep"]))
    everyone = threading.Barrier(3 * requests, timeout=100)
    llm = alone(Asking(another=another, everyone=everyone))
    answers = llm.batch(["hi"] * requests, {"max_concurrency": requests})
    assert {answer.content for answer in answers} == {"deep"}
    assert not any(answer.response_metadata["bestroute"]["degraded"] for answer in answers)


class Scoped(BaseChatModel):
    """Has async methods only, and a time limit of its own around each."""

    limit: float | None = 20
    pause: float = 0
    ended: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scoped"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError("async only")

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        with anyio.fail_after(20):
            await anyio.sleep(0)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("a b"))])

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        try:
            with contextlib.nullcontext() if self.limit is None else anyio.fail_after(self.limit):
                yield ChatGenerationChunk(message=AIMessageChunk("a "))
                await anyio.sleep(self.pause)
                yield ChatGenerationChunk(message=AIMessageChunk("b"))
        finally:
            self.ended.append("yes")


@pytest.mark.parametrize("door", ["invoke", "ainvoke", "stream", "astream"])
async def test_async_methods_with_cancel_scopes_serve_all_callers(door: str) -> None:
    llm = alone(Scoped()).bind(model="small")
    if door == "invoke":
        pieces = [(await asyncio.to_thread(llm.invoke, "hi")).content]
    elif door == "ainvoke":
        pieces = [(await llm.ainvoke("hi")).content]
    elif door == "stream":
        pieces = [chunk.content for chunk in await asyncio.to_thread(list, llm.stream("hi"))]
    else:
        pieces = [chunk.content async for chunk in llm.astream("hi")]
    assert "".join(pieces) == "a b"
    assert len([piece for piece in pieces if piece]) == (2 if "stream" in door else 1)


@pytest.mark.parametrize("door", ["stream", "astream"])
async def test_a_cancel_scope_is_left_where_it_was_entered(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = Scoped(pause=30)
    llm = alone(model, params={"timeout": 0.3}).bind(model="small")
    with pytest.raises(SamplingError, match=r"TimeoutError: nothing came for 0\.3 seconds"):
        if door == "stream":
            await asyncio.to_thread(list, llm.stream("hi"))
        else:
            [chunk async for chunk in llm.astream("hi")]
    assert model.ended == ["yes"]
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize("door", ["stream", "astream"])
async def test_a_stream_that_is_left_ends_the_member_s(door: str) -> None:
    model = Scoped(limit=None)
    llm = alone(model).bind(model="small")
    if door == "stream":
        sync: Any = llm.stream("hi")
        assert next(sync).content == "a "
        sync.close()
    else:
        pieces: Any = llm.astream("hi")
        assert (await anext(pieces)).content == "a "
        await pieces.aclose()
    await asyncio.sleep(0.1)
    assert model.ended == ["yes"]
