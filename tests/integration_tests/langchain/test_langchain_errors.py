"""What LangChain makes of a failure: kinds of errors, retries, summaries."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware, SummarizationMiddleware
from langchain_core import exceptions
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage

from bestroute.errors import NoEligibleArmError, SamplingError
from langchain_bestroute import ChatBestRoute
from tests.servers import Body, ChatServer, Reply

ASK = "What is six times seven?"
DOORS = ("invoke", "ainvoke", "stream", "astream")


async def call(llm: Any, door: str, ask: Any = ASK) -> Any:
    if door == "invoke":
        return llm.invoke(ask)
    if door == "ainvoke":
        return await llm.ainvoke(ask)
    if door == "stream":
        return list(llm.stream(ask))
    return [chunk async for chunk in llm.astream(ask)]


TOO_LONG = "This model's maximum context length is 8192 tokens. Please reduce the length."


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("reply", "kind", "again"),
    [
        (Reply("bad key", status=401), exceptions.ModelAuthenticationError, False),
        (Reply("not for you", status=403), exceptions.ModelPermissionDeniedError, False),
        (Reply("no such model", status=404), exceptions.ModelNotFoundError, False),
        (Reply("no such option", status=400), exceptions.ModelInvalidRequestError, False),
        (Reply(TOO_LONG, status=400), exceptions.ContextOverflowError, False),
        (Reply("slowly", status=429), exceptions.ModelRateLimitError, True),
        (Reply("out of order", status=503), exceptions.ModelAPIError, True),
    ],
)
async def test_a_failure_of_every_model_is_langchains_kind_too(
    reply: Reply, kind: Any, again: bool, door: str, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = reply
    with pytest.raises(SamplingError, match=str(reply.content)[:20]) as caught:
        await call(ChatBestRoute(pool=pool, max_retries=0), door)
    error: Any = caught.value
    assert isinstance(error, kind)
    assert error.is_retryable is again
    assert error.calls
    told: Any = pickle.loads(pickle.dumps(error))
    assert (type(told), str(told), len(told.calls)) == (type(error), str(error), len(error.calls))
    assert len(told.causes) == len(error.causes) > 0


async def test_nobody_there_and_no_time(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("late", delay=1)
    with pytest.raises(exceptions.ModelTimeoutError):
        ChatBestRoute(pool=pool, max_retries=0, timeout=0.1).invoke(ASK)
    for member in pool["models"]:
        member["params"] = {**member["params"], "api_base": "http://127.0.0.1:9/v1"}
    with pytest.raises(exceptions.ModelAPIError) as caught:  # as LiteLLM has it: a status of 500
        ChatBestRoute(pool=pool, max_retries=0).invoke(ASK)
    assert caught.value.is_retryable


@pytest.mark.parametrize(("other", "again"), [(403, False), (429, True)])
def test_different_failures_pass_if_one_does(
    other: int, again: bool, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = lambda body: Reply("no", status=401 if body["model"] == "small" else other)
    with pytest.raises(exceptions.ModelError) as caught:
        ChatBestRoute(pool=pool, max_retries=0).invoke(ASK)
    assert type(caught.value).__bases__ == (SamplingError, exceptions.ModelError)
    assert caught.value.is_retryable is again


@pytest.mark.parametrize("door", DOORS)
async def test_a_prompt_that_no_model_holds(door: str, pool: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=pool)
    with pytest.raises(exceptions.ContextOverflowError, match="do not fit") as caught:
        await call(llm, door, "word " * 20_000)
    assert isinstance(caught.value, NoEligibleArmError)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    deaf = {"models": [{**member, "vision": False} for member in pool["models"]]}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    with pytest.raises(NoEligibleArmError, match="vision") as other:
        await call(ChatBestRoute(pool=deaf), door, [HumanMessage([image])])
    assert not isinstance(other.value, exceptions.ContextOverflowError)


@pytest.mark.parametrize(("status", "calls"), [(401, 2), (429, 6)])
def test_only_what_may_pass_is_tried_again(
    status: int, calls: int, pool: Any, chat_server: ChatServer
) -> None:
    """One call to the small model, one to the big one; three times where it may help."""
    chat_server.reply = Reply("no", status=status)
    again = ModelRetryMiddleware(max_retries=2, initial_delay=0, on_failure="error")
    llm = ChatBestRoute(pool=pool, max_retries=0)
    with pytest.raises(SamplingError):
        create_agent(llm, [], middleware=[again]).invoke({"messages": [HumanMessage(ASK)]})
    assert len(chat_server.requests) == calls


def test_a_summary_whose_prompt_overflows_is_shortened(pool: Any, chat_server: ChatServer) -> None:
    def reply(body: Body) -> Reply:
        words = sum(len(str(each["content"]).split()) for each in body["messages"])
        return Reply(TOO_LONG, status=400) if words > 2000 else Reply("They talked.")

    chat_server.reply = reply
    summary = SummarizationMiddleware(
        ChatBestRoute(pool=pool, max_retries=0),
        trigger=("messages", 5),
        keep=("messages", 1),
        trim_tokens_to_summarize=None,
    )
    said = "word " * 400
    history = [kind(said) for _ in range(3) for kind in (HumanMessage, AIMessage)]
    agent = create_agent(FakeListChatModel(responses=["Hello!"]), [], middleware=[summary])
    found = agent.invoke({"messages": [*history, HumanMessage("Hi")]})
    assert "They talked." in found["messages"][0].text


@pytest.mark.parametrize(
    ("address", "said"),
    [("http://{}/v1", "provided: ***"), ("http://{}/v1?sig=canary-sig", "no /v1")],
)
def test_errors_do_not_quote_secrets(
    address: str, said: str, pool: Any, chat_server: ChatServer
) -> None:
    """A provider may quote the key, or the path with a query."""
    chat_server.reply = Reply("Incorrect API key provided: sk-canary-1", status=401)
    host = chat_server.url.removeprefix("http://").removesuffix("/v1")
    for member in pool["models"]:
        member["params"] = {"api_key": "sk-canary-1", "api_base": address.format(host)}
    with pytest.raises(SamplingError, match=re.escape(said)) as caught:
        ChatBestRoute(pool=pool, max_retries=0).invoke(ASK)
    assert "canary" not in f"{caught.value} {caught.value.calls}"
