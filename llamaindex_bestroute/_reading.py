"""What the router reads: the question in a prompt, and not the context around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.chat_engine.condense_plus_context import DEFAULT_CONDENSE_PROMPT_TEMPLATE
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.prompts.chat_prompts import (
    CHAT_REFINE_PROMPT,
    CHAT_TEXT_QA_PROMPT,
    CHAT_TREE_SUMMARIZE_PROMPT,
)
from llama_index.core.prompts.default_prompts import DEFAULT_REFINE_PROMPT_TMPL
from llama_index.core.selectors.prompts import (
    DEFAULT_MULTI_PYD_SELECT_PROMPT_TMPL,
    DEFAULT_SINGLE_PYD_SELECT_PROMPT_TMPL,
)

QUERY_VARIABLES = ("query_str", "query", "question")
"""What LlamaIndex's own templates call the question."""

_REMEMBERED = "bestroute_query"
_VARIABLE = re.compile(r"\{\w+\}")


def query_in(
    prompt: BasePromptTemplate, arguments: Mapping[str, Any], names: Sequence[str]
) -> str | None:
    """The value of the first of these variables that a prompt has."""
    values = {**prompt.kwargs, **arguments}
    return next((values[name] for name in names if isinstance(values.get(name), str)), None)


def remembering(messages: list[ChatMessage], query: str | None) -> list[ChatMessage]:
    """The messages, of which the last one remembers the query."""
    if not messages or query is None:
        return messages
    *others, last = messages
    known = {**last.additional_kwargs, _REMEMBERED: query}
    return [*others, last.model_copy(update={"additional_kwargs": known})]


def remembered(messages: Sequence[ChatMessage]) -> str | None:
    """The query that the last message remembers."""
    return messages[-1].additional_kwargs.get(_REMEMBERED) if messages else None


def recognised(messages: Sequence[ChatMessage]) -> str | None:
    """The query of the last user turn, also where LlamaIndex filled one of its own templates.

    Programs, selectors and some chat engines do that before they ask.
    """
    *_, last = (None, *_turns(messages))
    if last is None:
        return None
    found = next(filter(None, (pattern.match(last) for pattern in _patterns())), None)
    return found["query"] if found else last


def _turns(messages: Sequence[ChatMessage]) -> Iterator[str]:
    """What the user said; a ReAct agent reports what its tools brought as the user."""
    for before, message in pairwise([ChatMessage(), *messages]):
        text = message.content or ""
        reported = text.startswith("Observation: ") and "Action: " in (before.content or "")
        if message.role is MessageRole.USER and text.strip() and not reported:
            yield text


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """LlamaIndex's own templates, read backwards."""
    return tuple(re.compile(_backwards(template), re.DOTALL) for template in _templates())


def _templates() -> Iterator[str]:
    for prompt in (CHAT_TEXT_QA_PROMPT, CHAT_TREE_SUMMARIZE_PROMPT, CHAT_REFINE_PROMPT):
        yield prompt.message_templates[-1].content or ""
    yield DEFAULT_REFINE_PROMPT_TMPL
    yield DEFAULT_SINGLE_PYD_SELECT_PROMPT_TMPL
    yield DEFAULT_MULTI_PYD_SELECT_PROMPT_TMPL
    yield DEFAULT_CONDENSE_PROMPT_TEMPLATE


def _backwards(template: str) -> str:
    """A regular expression for a filled template, up to what follows the query."""
    before, after = re.split(rf"{{(?:{'|'.join(QUERY_VARIABLES)})}}", template, maxsplit=1)
    context = ".*".join(map(re.escape, _VARIABLE.split(before)))
    return f"{context}(?P<query>.*?){re.escape(_VARIABLE.split(after)[0])}"
