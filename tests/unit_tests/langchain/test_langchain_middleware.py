"""BestRouteMiddleware: what it asks of the model, and what it remembers; no model is called."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from bestroute.errors import ConfigError
from langchain_bestroute import BestRouteMiddleware, ChatBestRoute

POOL: dict[str, list[dict[str, Any]]] = {
    "models": [
        {"model": "openai/small", "name": "small", "max_samples": 3},
        {"model": "openai/big", "name": "big", "reference": True},
    ]
}
LLM = ChatBestRoute(pool=POOL)
SAME_NAMES = ChatBestRoute(
    pool={"models": [{**POOL["models"][0], "model": "openai/other"}, POOL["models"][1]]}
)
OTHER = FakeListChatModel(responses=["no"])

ASK = HumanMessage("What is six times seven?")
CALL = {"name": "multiply", "args": {"a": 6, "b": 7}, "id": "c1", "type": "tool_call"}
RESULT = ToolMessage("42", tool_call_id="c1")


class Clock:
    """Stands still until it is set."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def answer(
    model: str | None = "small",
    text: str = "42",
    *,
    llm: ChatBestRoute = LLM,
    tokens: int = 2000,
    read: int = 0,
    also: Mapping[str, int] | None = None,
    **fields: Any,
) -> AIMessage:
    """As ChatBestRoute gives it; without a model, as another chat model does.

    Args:
        model: Which answers.
        text: What.
        llm: Whose model.
        tokens: Of the prompt.
        read: How many of them the provider read from its cache.
        also: Tokens of the prompts of other models that were asked.
        **fields: Of the message.
    """
    if model is None:
        return AIMessage(text, **fields)
    prompts = {**(also or {}), model: tokens}
    routed = {
        "model": model,
        "pool": llm.engine.pool.fingerprint,
        "prompt_tokens_by_model": prompts,
        "usage_by_model": {each: {"cached_tokens": read} for each in prompts},
    }
    return AIMessage(text, response_metadata={"bestroute": routed}, **fields)


def calling(model: str | None = "small", **fields: Any) -> AIMessage:
    return answer(model, "", tool_calls=[CALL], **fields)


class Agent:
    """The model node of an agent: asks the middleware, keeps its state."""

    def __init__(self, middleware: BestRouteMiddleware[Any, Any]) -> None:
        self.middleware = middleware
        self.state: dict[str, Any] = {"messages": []}

    def __call__(
        self,
        *messages: AnyMessage,
        gives: AIMessage | None = None,
        adds: AnyMessage | None = None,
        **fields: Any,
    ) -> ModelRequest[Any]:
        """What the handler was asked, once it has given a message.

        Args:
            *messages: Of the agent's state.
            gives: The answer.
            adds: A message that other middleware adds to the prompt.
            **fields: Of the request.
        """
        self.state["messages"] = list(messages)
        asked: list[ModelRequest[Any]] = []

        def handler(request: ModelRequest[Any]) -> ModelResponse[Any]:
            asked.append(request)
            return ModelResponse([gives or answer()])

        fields.setdefault("model", LLM)
        request: ModelRequest[Any] = ModelRequest(
            messages=[*messages, *([adds] if adds else [])],
            state=self.state,  # type: ignore[arg-type]
            **fields,
        )
        given = self.middleware.wrap_model_call(request, handler)
        if isinstance(given, ExtendedModelResponse) and given.command:
            self.state |= json.loads(json.dumps(given.command.update))
        return asked[0]


def agent(llm: ChatBestRoute = LLM, **options: Any) -> Agent:
    return Agent(BestRouteMiddleware(llm, **options))


def models(request: ModelRequest[Any]) -> Any:
    """The only models that may answer; `None`: the whole pool."""
    assert isinstance(request.model, ChatBestRoute)
    return request.model.models


def cached(request: ModelRequest[Any]) -> Any:
    assert isinstance(request.model, ChatBestRoute)
    return request.model.cached_tokens


# A tool-call turn


def test_a_new_turn_is_open_to_the_whole_pool() -> None:
    ask = agent()
    assert models(ask(ASK)) is None
    assert models(ask(ASK, calling(), RESULT, answer(), HumanMessage("And seven times?"))) is None


@pytest.mark.parametrize("model", ["small", "big"])
def test_tool_results_go_to_the_model_that_called(model: str) -> None:
    assert models(agent()(ASK, calling(model), RESULT)) == (model,)


@pytest.mark.parametrize("adds", [HumanMessage("Be brief."), answer("big")])
def test_what_other_middleware_adds_to_a_prompt_ends_no_turn(adds: AnyMessage) -> None:
    assert models(agent()(ASK, calling(), RESULT, adds=adds)) == ("small",)
    assert models(agent()(ASK, calling(), RESULT, answer(), ASK, adds=adds)) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"models": ["big"]},
        {"model": "big"},
        {"cached_tokens": {"big": 9000}},
    ],
)
@pytest.mark.parametrize("model", [LLM, OTHER])
def test_no_setting_splits_a_turn(settings: dict[str, Any], model: BaseChatModel) -> None:
    given: dict[str, Any] = {"model": model, "model_settings": {**settings, "max_tokens": 5}}
    ask = agent(keep_settings=settings)
    asked = ask(ASK, calling(), RESULT, **given)
    assert models(asked) == ("small",)
    assert asked.model_settings == {"max_tokens": 5}
    assert ask(ASK, **given).model_settings == {**settings, "max_tokens": 5}


def test_nothing_is_remembered_of_another_pool() -> None:
    ask = agent()
    ask(ASK, gives=answer(llm=SAME_NAMES))
    assert "bestroute" not in ask.state
    ask(ASK, gives=calling("big", id="m1"))
    later = agent(SAME_NAMES)  # the pool was changed between two turns of a thread
    later.state = dict(ask.state)
    assert not cached(later(ASK, answer("big"), ASK))
    later.state = dict(ask.state)
    assert models(later(ASK, calling(None, id="m1"), RESULT)) is None


def test_the_last_caller_of_the_turn_counts() -> None:
    more = ToolMessage("1", tool_call_id="c1")
    assert models(agent()(ASK, calling("small"), RESULT, calling("big"), RESULT, more)) == ("big",)


def test_a_turn_goes_on_after_an_answer_that_other_middleware_sent_back() -> None:
    assert models(agent()(ASK, calling(), RESULT, answer("big"))) == ("small",)


def test_a_call_that_was_no_json_begins_a_turn_as_well() -> None:
    broken = {**CALL, "args": "{", "error": "no JSON", "type": "invalid_tool_call"}
    began = answer("big", "", invalid_tool_calls=[broken])
    assert models(agent()(ASK, began, RESULT)) == ("big",)


def test_a_message_that_lost_its_metadata_is_known_by_its_id() -> None:
    ask = agent()
    ask(ASK, gives=calling("big", id="m1"))
    assert models(ask(ASK, calling(None, id="m1"), RESULT)) == ("big",)
    assert models(ask(ASK, calling(None, id="m2"), RESULT)) is None


def test_a_turn_that_a_model_outside_the_pool_began_is_routed() -> None:
    assert models(agent()(ASK, calling(None), RESULT)) is None
    # A model of the same name in another pool is another one.
    assert models(agent()(ASK, calling(llm=SAME_NAMES), RESULT)) is None
    assert models(agent(SAME_NAMES)(ASK, calling(llm=SAME_NAMES), RESULT)) == ("small",)


def test_the_agents_own_restriction_holds_for_new_turns() -> None:
    ask = agent(ChatBestRoute(pool=POOL, models=("small",)))
    assert models(ask(ASK)) == ("small",)


# A session


def test_the_first_call_counts_on_no_cache() -> None:
    assert not cached(agent()(ASK))


def test_a_prompt_that_goes_on_is_still_cached() -> None:
    ask = agent(clock=Clock())
    ask(ASK, gives=answer("big", tokens=1500))
    assert cached(ask(ASK, answer("big"), HumanMessage("Why?"))) == {"big": 1500}


def test_each_model_has_a_cache_of_its_own() -> None:
    clock = Clock()
    ask = agent(clock=clock)
    ask(ASK, gives=answer("big", tokens=1500))
    clock.now += 100
    ask(ASK, answer("big"), ASK, gives=answer("small", tokens=1800))
    history = (ASK, answer("big"), ASK, answer("small"), ASK)
    later = agent(clock=clock)  # another process, from the same checkpoint
    later.state = dict(ask.state)
    assert cached(ask(*history)) == {"big": 1500, "small": 1800}
    clock.now += 250
    assert cached(later(*history)) == {"small": 1800}


def test_both_models_of_an_escalation_hold_the_prompt() -> None:
    ask = agent(clock=Clock())
    both = answer("big", tokens=1200, also={"small": 1100, "judge": 5000})
    ask(ASK, gives=both)
    assert cached(ask(ASK, both, ASK)) == {"small": 1100, "big": 1200}


@pytest.mark.parametrize(("age", "held"), [(0, True), (299, True), (301, False)])
def test_a_cache_does_not_live_for_ever(age: float, held: bool) -> None:
    clock = Clock()
    ask = agent(clock=clock)
    ask(ASK)
    clock.now += age
    assert bool(cached(ask(ASK, answer(), ASK))) is held


def test_no_time_is_no_cache() -> None:
    ask = agent(clock=Clock(), cache_ttl=0)
    ask(ASK)
    assert not cached(ask(ASK, answer(), ASK))


@pytest.mark.parametrize(("tokens", "held"), [(1023, False), (1024, True)])
def test_short_prompts_are_not_cached(tokens: int, held: bool) -> None:
    ask = agent()
    ask(ASK, gives=answer(tokens=tokens))
    assert bool(cached(ask(ASK, answer(), ASK))) is held


def test_a_provider_that_reports_no_cached_tokens_is_not_counted_on() -> None:
    ask = agent()
    history: list[AnyMessage] = [ASK]
    counted = []
    for read in (0, 0, 0, 1900, 0, 0):
        counted.append(bool(cached(ask(*history, gives=answer(read=read)))))
        history += [answer(), ASK]
    assert counted == [False, True, False, False, True, False]


SYSTEM = SystemMessage("Be brief.")
OFFERED = {"type": "function", "function": {"name": "multiply"}}


@pytest.mark.parametrize(
    ("messages", "fields", "held"),
    [
        ([ASK, answer(), ASK], {}, True),
        ([ASK.model_copy(update={"id": "other"}), answer(), ASK], {}, True),
        ([HumanMessage("A summary"), answer(), ASK], {}, False),
        ([], {}, False),
        ([ASK, answer(), ASK], {"system_message": SystemMessage("Be long.")}, False),
        ([ASK, answer(), ASK], {"system_message": None}, False),
        ([ASK, answer(), ASK], {"tools": []}, False),
    ],
)
def test_a_rewritten_prompt_is_not_cached(
    messages: list[AnyMessage], fields: dict[str, Any], held: bool
) -> None:
    ask = agent()
    ask(ASK, system_message=SYSTEM, tools=[OFFERED])
    asked = ask(*messages, **{"system_message": SYSTEM, "tools": [OFFERED], **fields})
    assert bool(cached(asked)) is held


def test_what_another_model_answered_leaves_the_memory_alone() -> None:
    ask = agent()
    ask(ASK)
    before = ask.state["bestroute"]
    ask(ASK, answer(), ASK, gives=answer(None))
    assert ask.state["bestroute"] == before


# Settings

SETTINGS = {
    "temperature": 0.2,
    "max_tokens": 50,
    "stop": ["END"],
    "cache_control": {"type": "ephemeral"},
    "service_tier": "flex",
    "prompt_cache_key": "k",
}


def test_settings_of_another_model_do_not_travel(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "langchain_bestroute")
    given = dict(SETTINGS)
    asked = agent()(ASK, model=OTHER, model_settings=given)
    assert asked.model_settings == {"temperature": 0.2, "max_tokens": 50, "stop": ["END"]}
    assert given == SETTINGS
    assert "['cache_control', 'prompt_cache_key', 'service_tier']" in caplog.text
    assert "ephemeral" not in caplog.text


def test_settings_may_be_kept() -> None:
    ask = agent(keep_settings=["service_tier"])
    assert "service_tier" in ask(ASK, model=OTHER, model_settings=SETTINGS).model_settings


def test_settings_made_for_the_pool_all_pass() -> None:
    settings = {"threshold": 0.5, "reasoning_effort": "low"}
    assert agent()(ASK, model_settings=settings).model_settings == settings


# The model


@pytest.mark.parametrize("model", [LLM, OTHER])
def test_the_pool_answers_whatever_the_agents_model_is(model: BaseChatModel) -> None:
    asked = agent()(ASK, model=model)
    assert isinstance(asked.model, ChatBestRoute)
    assert asked.model.engine is LLM.engine
    assert LLM.models is None


def test_a_bound_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="give options to ChatBestRoute itself"):
        BestRouteMiddleware(LLM.bind(max_n=1))  # type: ignore[arg-type]


# Importing

IMPORT = """
import sys
from importlib.abc import MetaPathFinder

class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
import langchain_bestroute
print("agents" if "langchain.agents" in sys.modules else "light")
try:
    langchain_bestroute.BestRouteMiddleware
except ImportError as error:
    print(type(error).__name__, error)
else:
    print("there")
"""


def _imported(blocked: str) -> str:
    command = [sys.executable, "-c", IMPORT.format(blocked=blocked)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_agents_are_imported_when_they_are_first_used() -> None:
    assert _imported("nothing").split() == ["light", "there"]


@pytest.mark.parametrize("blocked", ["langchain", "langgraph"])
def test_the_error_names_the_extra(blocked: str) -> None:
    told = _imported(blocked)
    assert told.startswith("light\nMissingExtraError BestRouteMiddleware needs an extra")
    assert "bestroute[agents]" in told


def test_an_unknown_name_is_an_attribute_error() -> None:
    import langchain_bestroute

    with pytest.raises(AttributeError, match="Nothing"):
        langchain_bestroute.Nothing  # noqa: B018
