"""What the router reads: the question in a prompt, and not the context around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.chat_engine.condense_plus_context import DEFAULT_CONDENSE_PROMPT_TEMPLATE
from llama_index.core.output_parsers.pydantic import PYDANTIC_FORMAT_TMPL
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.prompts.chat_prompts import (
    CHAT_REFINE_PROMPT,
    CHAT_TEXT_QA_PROMPT,
    CHAT_TREE_SUMMARIZE_PROMPT,
)
from llama_index.core.prompts.default_prompts import DEFAULT_REFINE_PROMPT_TMPL, HYDE_TMPL
from llama_index.core.selectors.prompts import (
    DEFAULT_MULTI_PYD_SELECT_PROMPT_TMPL,
    DEFAULT_SINGLE_PYD_SELECT_PROMPT_TMPL,
)

from bestroute.query import Request

QUERY_VARIABLES = ("query_str", "query", "question")
"""What LlamaIndex's own templates call the question."""

_REMEMBERED = "bestroute_query"
_VARIABLE = re.compile(r"\{\w+\}")
_SCHEMA_BEGINS, _SCHEMA_ENDS = ("\n\n" + PYDANTIC_FORMAT_TMPL).split("{schema}")


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


def query_of(
    messages: Sequence[ChatMessage],
    *,
    query_turns: int | None = None,
    query_pattern: str | re.Pattern[str] | None = None,
) -> str | None:
    """What the user asks, also where LlamaIndex filled one of its own templates.

    Programs, selectors and some chat engines do that before they ask.

    Args:
        messages: A conversation.
        query_turns: How many of the last user turns are read, by default one.
        query_pattern: Finds the query in them; where it does not, LlamaIndex's templates may.

    Raises:
        RequestError: `query_turns` is no positive number, or the pattern no regular expression.
    """
    turns = list(_turns(messages))
    if not turns:
        return None
    said = Request.build(
        [{"role": "user", "content": turn} for turn in turns],
        query_turns=query_turns or 1,
        query_pattern=query_pattern,
    )
    last = turns[-said.query_turns :]
    found = said.query != "\n".join(last)
    return said.query if found else "\n".join(map(_recognised, last))


def schema_in(messages: Sequence[ChatMessage]) -> dict[str, Any] | None:
    """The JSON schema that LlamaIndex's parser of objects has added to a prompt.

    It adds it to the system's message, if that is the first, else to the last one.
    """
    system = [each for each in messages[:1] if each.role is MessageRole.SYSTEM]
    texts = [_parted(each.content or "")[1] for each in (*system, *messages[-1:])]
    return next(filter(None, map(_schema, filter(None, texts))), None)


def _schema(text: str) -> dict[str, Any] | None:
    if text.startswith("{{"):  # the parser writes each brace twice
        text = text.replace("{{", "{").replace("}}", "}")
    try:
        schema = json.loads(text)
    except ValueError:
        return None
    return schema if isinstance(schema, dict) else None


def _parted(text: str) -> tuple[str, str]:
    """A prompt, and the JSON schema that the parser has added to it."""
    before, begins, after = text.rpartition(_SCHEMA_BEGINS)
    if begins and after.endswith(_SCHEMA_ENDS):
        return before, after.removesuffix(_SCHEMA_ENDS)
    return text, ""


def _turns(messages: Sequence[ChatMessage]) -> Iterator[str]:
    """What the user said; a ReAct agent reports what its tools brought as the user."""
    for before, message in pairwise([ChatMessage(), *messages]):
        text, _ = _parted(message.content or "")
        reported = text.startswith("Observation: ") and "Action: " in (before.content or "")
        if message.role is MessageRole.USER and text.strip() and not reported:
            yield text


def _recognised(text: str) -> str:
    found = (template.query_in(text) for template in _templates())
    return next(filter(None, found), text)


@dataclass(frozen=True)
class _Template:
    """A template read backwards: by plain search, for users write what is searched.

    Attributes:
        before: Its text before the query, between other variables.
        after: Its text after the query, up to the next variable.
    """

    before: tuple[str, ...]
    after: str

    @classmethod
    def of(cls, template: str) -> _Template:
        before, after = re.split(rf"{{(?:{'|'.join(QUERY_VARIABLES)})}}", template, maxsplit=1)
        return cls(tuple(_VARIABLE.split(before)), _VARIABLE.split(after)[0])

    def query_in(self, text: str) -> str | None:
        """The query; `None` where the text is not of this template."""
        first, *others = self.before
        if not text.startswith(first):
            return None
        start, limit = len(first), text.rfind(self.after)
        for index, part in enumerate(reversed(others)):
            if limit < len(first) or (limit := text.rfind(part, len(first), limit)) < 0:
                return None
            start = start if index else limit + len(part)
        end = text.find(self.after, start)
        return text[start:end] if end >= 0 else None


@cache
def _templates() -> tuple[_Template, ...]:
    """LlamaIndex's own."""
    chats = (CHAT_TEXT_QA_PROMPT, CHAT_TREE_SUMMARIZE_PROMPT, CHAT_REFINE_PROMPT)
    texts = (
        *(prompt.message_templates[-1].content or "" for prompt in chats),
        DEFAULT_REFINE_PROMPT_TMPL,
        DEFAULT_SINGLE_PYD_SELECT_PROMPT_TMPL,
        DEFAULT_MULTI_PYD_SELECT_PROMPT_TMPL,
        DEFAULT_CONDENSE_PROMPT_TEMPLATE,
        HYDE_TMPL.replace("{context_str}", "{query_str}"),
    )
    agents = _Template(  # with `output_cls`: the conversation, its last turn of the user
        ("<current_conversation>\n", "\t<user>\n\n\t\t<message>"), "</message>\n\n\t</user>\n"
    )
    return (*map(_Template.of, texts), agents)
