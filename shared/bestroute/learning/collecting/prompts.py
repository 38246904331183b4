"""Prompts: what is collected, from JSONL, Parquet, a samples table, or a HuggingFace dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bestroute._plain import parsed
from bestroute.errors import DataError
from bestroute.learning.collecting.prompt_files import Record, read_records
from bestroute.learning.samples import SPLITS, canonical, split_of
from bestroute.learning.scoring.references import accepted_answers
from bestroute.learning.scoring.verifiers import Check
from bestroute.query import Request

Split = Literal["train", "calibration", "test"]

SHARES = (0.6, 0.2, 0.2)
"""Default shares of train, calibration and test."""


class Prompt(BaseModel):
    """One prompt, and how an answer to it may be checked.

    Attributes:
        id: Its name; by default a digest of messages and params.
        messages: Chat messages; by default the query as one user message.
        query: What the router reads; by default the last user turn.
        params: Call parameters of this prompt (max_tokens, tools ...); they win over the pool's.
        task: What kind of prompt it is.
        group: Prompts of one group (a document, a conversation) come into the same split.
        split: Where it belongs; `None` until `assign_splits`.
        answer: Reference answer, or several accepted ones.
        check: A verifier of `bestroute.learning.scoring.verifiers`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    id: str = Field(min_length=1)
    messages: tuple[dict[str, Any], ...]
    query: str
    params: dict[str, Any] = {}
    task: str | None = None
    group: str | None = None
    split: Split | None = None
    answer: str | tuple[str, ...] | None = None
    check: Check | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        for name in ("messages", "params", "check"):  # as Parquet and the samples table have them
            if isinstance(given.get(name), str):
                given[name] = parsed(given[name])
        asked = given.get("messages", given.get("query"))
        if asked is None:
            raise ValueError("it has neither query nor messages")
        request = Request.build(asked, given.get("params"), query_text=given.get("query"))
        content = canonical([list(request.messages), request.params])
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return {"id": digest, **given, "messages": request.messages, "query": request.query}

    @property
    def request(self) -> Request:
        """What is asked."""
        return Request(messages=self.messages, params=self.params, query_text=self.query)

    @property
    def reference_answer(self) -> str | None:
        """The answer as the samples table has it: a text, or a JSON list of accepted ones."""
        if self.answer is None:
            return None
        given = [self.answer] if isinstance(self.answer, str) else list(self.answer)
        is_plain = len(given) == 1 and accepted_answers(given[0]) == given
        return given[0] if is_plain else canonical(given)


def read_prompts(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
) -> tuple[Prompt, ...]:
    """Read prompts; what has no split is assigned one. Equal prompts are read once.

    Args:
        source: JSONL or Parquet with the fields of `Prompt`; a samples table, of which each
            query is a prompt; a folder saved by `datasets`, or a hub id, each with an optional
            `:split` (`owner/name:train`, `owner/name:config:train`).
        columns: Field of `Prompt` -> its name there. Other columns are ignored.
        seed: Of the split.
        shares: Of train, calibration and test.

    Raises:
        DataError: Names the file and the line of what cannot be read.
        MissingExtraError: A dataset is to be read and `datasets` is not installed.
    """
    prompts: dict[str, tuple[str, Prompt]] = {}
    for record in read_records(source):
        prompt = _prompt(record, columns or {})
        where, known = prompts.setdefault(prompt.id, (record.where, prompt))
        if known != prompt:
            raise DataError(
                f"{record.where}: id {prompt.id!r} stands for another prompt in {where}"
            )
    if not prompts:
        raise DataError(f"{source}: holds no prompts")
    return assign_splits((prompt for _, prompt in prompts.values()), seed=seed, shares=shares)


def assign_splits(
    prompts: Iterable[Prompt], *, seed: int = 0, shares: Sequence[float] = SHARES
) -> tuple[Prompt, ...]:
    """Give each prompt without a split one, by a seeded hash of its group, else of its id.

    Further prompts never move those that are there.

    Raises:
        DataError: The shares are not three that sum to 1, or a group is divided.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise DataError(f"shares of {', '.join(SPLITS)} must be three that sum to 1, not {shares}")
    done = tuple(
        each
        if each.split
        else each.model_copy(update={"split": split_of(each.group or each.id, seed, shares)})
        for each in prompts
    )
    splits: dict[str, str | None] = {}
    for each in done:
        if each.group is not None and splits.setdefault(each.group, each.split) != each.split:
            raise DataError(f"group {each.group!r} is in more than one split")
    return done


def _prompt(record: Record, columns: Mapping[str, str]) -> Prompt:
    names = {field: columns.get(field, field) for field in Prompt.model_fields}
    fields = record.fields
    absent = [name for name in columns.values() if name not in fields]
    if absent:
        raise DataError(f"{record.where}: no {absent[0]!r}; found {sorted(fields)}")
    try:
        return Prompt.model_validate(
            {field: fields[name] for field, name in names.items() if name in fields}
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise DataError(
            f"{record.where}: {f'{field}: ' if field else ''}{reason} (found {sorted(fields)})"
        ) from error
