"""Options by call, by `bind`, by `with_config`; the cache's key; the profile; the named model."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage
from langchain_core.runnables import ConfigurableField, RunnableLambda

from bestroute import BestRoute, Cascade, ModelPool
from bestroute.errors import ConfigError, NoEligibleArmError, RouterNotTrained, UnknownModelError
from langchain_bestroute import ChatBestRoute
from tests.servers import Body, ChatServer, Reply

ASK = "What is six times seven?"
BIG = 10 * 300 / 1e6
"""$ of an answer of 300 tokens of the dear model, without its prompt."""
"""About what the big model costs by estimate: $ 10 per 1M tokens, 256 of them expected."""


def split_or_dear(body: Body) -> Reply:
    return Reply(["1", "2", "3"] if body["model"] == "small" else "It is 42")


def about(message: Any) -> dict[str, Any]:
    assert isinstance(message, AIMessage)
    found: dict[str, Any] = message.response_metadata["bestroute"]
    return found


CONFIGURABLE = {
    name: ConfigurableField(id=name) for name in ("threshold", "max_drop", "max_cost", "max_n")
}


def test_configurable_fields(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = split_or_dear
    llm: Any = ChatBestRoute(pool=pool).configurable_fields(**CONFIGURABLE)
    assert about(llm.invoke(ASK))["model"] == "openai/big"
    cheap = llm.with_config(configurable={"max_cost": BIG})
    assert about(cheap.invoke(ASK, max_tokens=300))["model"] == "openai/small"
    assert about(llm.invoke(ASK, {"configurable": {"max_n": 2}}))["arm"] == "openai/small:2"
    with pytest.raises(RouterNotTrained):
        llm.with_config(configurable={"max_drop": 0.02}).invoke(ASK)


def test_configurable_inside_a_chain_with_tools(pool: Any, chat_server: ChatServer) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    bound = ChatBestRoute(pool=pool).bind_tools(tools)
    chain = bound.with_config(configurable={"bestroute_max_n": 2})
    assert about(chain.invoke(ASK))["arm"] == "openai/small:2"
    assert chat_server.requests[-1]["tools"]


@pytest.mark.parametrize("door", ["invoke", "ainvoke", "stream", "astream"])
async def test_configurable_values_need_no_declaration(
    door: str, pool: Any, chat_server: ChatServer
) -> None:
    llm = ChatBestRoute(pool=pool).with_config(
        configurable={"bestroute_max_n": 2, "thread_id": "t", "max_n": "many"}
    )
    if door in ("invoke", "stream"):
        given: Any = getattr(llm, door)(ASK)
        messages = [given] if door == "invoke" else list(given)
    elif door == "ainvoke":
        messages = [await llm.ainvoke(ASK)]
    else:
        messages = [chunk async for chunk in llm.astream(ASK)]
    assert about(messages[-1])["arm"] == "openai/small:2"
    assert "thread_id" not in chat_server.requests[-1]


def test_values_of_others_are_not_taken_for_options(pool: Any, chat_server: ChatServer) -> None:
    theirs: Any = {"configurable": {"threshold": 0.8, "max_cost": "low", "max_n": object()}}
    message = ChatBestRoute(pool=pool).invoke(ASK, theirs)
    assert about(message)["arm"] == "openai/small:3"
    wrong: Any = {"configurable": {"bestroute_max_cost": "0.1"}}
    with pytest.raises(ConfigError, match="max_cost is '0.1'; expected a number"):
        ChatBestRoute(pool=pool).invoke(ASK, wrong)


def test_configurable_values_come_through_a_chain(pool: Any, chat_server: ChatServer) -> None:
    chain = RunnableLambda(lambda text: text) | ChatBestRoute(pool=pool)
    inner: Any = RunnableLambda(lambda text: ChatBestRoute(pool=pool).invoke(text))
    for each in (chain, inner):
        message = each.invoke(ASK, {"configurable": {"bestroute_max_n": 2}})
        assert about(message)["arm"] == "openai/small:2"
    bound = ChatBestRoute(pool=pool).bind(max_n=1)
    won = bound.invoke(ASK, {"configurable": {"bestroute_max_n": 2}})
    assert about(won)["arm"] == "openai/big:1"  # what the call says wins


@pytest.mark.parametrize(
    ("options", "arm"),
    [
        ({"max_n": 2}, "openai/small:2"),
        ({"max_cost": 1e-9}, None),
        ({"model": "openai/big"}, "openai/big:1"),
        ({"model": "openai/small:2"}, "openai/small:2"),
    ],
)
def test_bound_options(options: Any, arm: str | None, pool: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=pool)
    if arm is None:
        with pytest.raises(NoEligibleArmError, match="max_cost"):
            llm.bind(**options).invoke(ASK)
    else:
        assert about(llm.bind(**options).invoke(ASK))["arm"] == arm
        assert about(llm.invoke(ASK, **options))["arm"] == arm


def test_a_named_model_is_reported(pool: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=pool)
    message = llm.invoke(ASK, model="openai/big")
    assert about(message)["policy"] == "named"
    assert "no routing" in about(message)["reason"]
    assert message.response_metadata["model_name"] == "openai/big"
    assert llm._get_ls_params(model="openai/big").get("ls_model_name") == "openai/big"
    with pytest.raises(UnknownModelError, match="the pool holds"):
        llm.invoke(ASK, model="gpt-7")


async def test_fewer_samples_where_it_streams(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = "It is 42"
    engine = BestRoute(ModelPool.from_dict(pool), policy=Cascade())
    llm = ChatBestRoute(engine=engine, streaming_max_n=2)
    assert about(llm.invoke(ASK))["arm"] == "openai/small:3"
    *_, last = [chunk async for chunk in llm.astream(ASK)]
    assert last.response_metadata["bestroute"]["arm"] == "openai/small:2"


def test_what_a_cached_answer_depends_on(pool: Any, chat_server: ChatServer) -> None:
    cache = InMemoryCache()
    for member in pool["models"]:
        member["max_output_tokens"] = 500  # max_cost must know

    def calls(asking: Any = None, **fields: Any) -> int:
        before = len(chat_server.requests)
        ChatBestRoute(pool=pool, cache=cache, **fields).invoke(ASK, **(asking or {}))
        return len(chat_server.requests) - before

    assert (calls(), calls()) == (1, 0)
    for asking in ({"model": "openai/big"}, {"query_text": "?"}, {"max_cost": 1.0}, {"seed": 1}):
        assert (calls(asking), calls(asking)) == (1, 0), asking
    for fields in ({"max_cost": 1.0}, {"query_turns": 2}, {"query_pattern": "(six)"}):
        assert (calls(**fields), calls(**fields)) == (1, 0), fields


def _with_headers(pool: Any, tenant: str, **params: Any) -> Any:
    small, big = pool["models"]
    headers = {"extra_headers": {"X-Tenant": tenant}}
    return {"models": [{**small, "params": {**small["params"], **headers, **params}}, big]}


def test_hidden_parameters_keep_cached_answers_apart(pool: Any, chat_server: ChatServer) -> None:
    cache = InMemoryCache()

    def answer(given: Any) -> Any:
        return ChatBestRoute(pool=given, cache=cache).invoke(ASK).content

    for tenant in ("a", "b"):
        chat_server.reply = f"for {tenant}"
        assert answer(_with_headers(pool, tenant)) == f"for {tenant}"
    chat_server.reply = "for nobody"
    assert answer(_with_headers(pool, "a")) == "for a"
    assert answer(_with_headers(pool, "a", api_key="another")) == "for a"
    assert answer(_with_headers(pool, "canary-9")) == "for nobody"
    assert "canary" not in str(cache._cache.keys())


def test_what_is_hidden_is_used_and_not_written_down(pool: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=_with_headers(pool, "canary-8"), max_retries=0)
    assert about(llm.invoke(ASK))["model"] == "openai/small"
    assert "canary-8" in chat_server.headers[-1].values()
    address = chat_server.url.replace("http://", "http://user:canary-9@")
    llm = ChatBestRoute(pool=_with_headers(pool, "canary-8", api_base=address))
    assert llm.engine.pool.models[0].call_params()["api_base"] == address
    written = f"{dumpd(llm)} {llm!r} {pickle.dumps(llm)!r} {llm._get_llm_string()}"
    assert "canary" not in written
    assert chat_server.url in written
    revived = pickle.loads(pickle.dumps(llm))
    assert revived.engine.pool.models[0].call_params()["api_base"] == chat_server.url


def _member(pool: Any, **facts: Any) -> dict[str, Any]:
    return {"models": [{**pool["models"][0], **facts}, {**pool["models"][1], "vision": True}]}


def test_the_profile_holds_for_the_whole_pool(pool: Any) -> None:
    profile: Any = ChatBestRoute(pool=_member(pool, context_window=2000, tools=False)).profile
    assert profile["max_input_tokens"] == 2000
    assert profile["image_inputs"] is False  # the big model alone can
    assert profile["tool_calling"] is False
    assert ChatBestRoute(pool=pool, profile={"max_input_tokens": 7}).profile == {
        "max_input_tokens": 7
    }


def test_what_needs_more_is_served_by_those_who_can(pool: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=_member(pool, context_window=2000, vision=False))
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    seen = llm.invoke([{"role": "user", "content": [{"type": "text", "text": ASK}, *image]}])
    assert about(seen)["model"] == "openai/big"
    long = llm.invoke("word " * 3000)
    assert about(long)["model"] == "openai/big"
    assert about(llm.invoke(ASK))["model"] == "openai/small"
