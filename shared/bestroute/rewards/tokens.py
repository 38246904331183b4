"""A query and a response as one run of tokens, cut where it hurts least."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bestroute.errors import ConfigError, ScoreError

_log = logging.getLogger(__name__)

_LONGEST_TOKEN = 64  # characters; of longer texts the beginning is not even tokenised
_QUERY_SHARE = 4  # the query keeps a quarter of the room, whatever the response's length


class PairTokenizer:
    """What a reward model reads, in scoring and in training alike.

    A tokenizer with a chat template reads query and response as a user and an assistant turn,
    others as a pair of texts.

    A pair of more than `max_tokens` loses the beginning of its query first, down to a quarter
    of the room, then the beginning of its response: the end of the response, where the answer
    is, stays. One warning says so.

    Args:
        tokenizer: A fast tokenizer of `transformers`; it keeps state, so threads must take turns.
        max_tokens: Longest pair, at least 8; never more than the tokenizer's own limit.

    Raises:
        ConfigError: `max_tokens` is too small, or the tokenizer is not a fast one.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        if max_tokens < 8:
            raise ConfigError(f"max_tokens must be at least 8, not {max_tokens}")
        if not tokenizer.is_fast:
            raise ConfigError(f"{tokenizer.name_or_path} has no fast tokenizer")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._tokenizer = tokenizer
        self._max_tokens = min(max_tokens, int(tokenizer.model_max_length))
        self._warned = False

    @property
    def max_tokens(self) -> int:
        """Longest pair."""
        return self._max_tokens

    @property
    def templated(self) -> bool:
        """Whether pairs are read as a chat."""
        return bool(self._tokenizer.chat_template)

    @property
    def typed(self) -> bool:
        """Whether tokens come with the type of their text: query or response."""
        return "token_type_ids" in self._tokenizer.model_input_names

    def encode_many(self, pairs: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
        """`encode` of each pair, faster.

        Raises:
            ScoreError: Even an empty pair is longer than `max_tokens`.
        """
        if not pairs:
            return []
        ends = [(self._end(query), self._end(response)) for query, response in pairs]
        encoded = self._all_tokens(ends)
        return [
            tokens if len(tokens["input_ids"]) <= self._max_tokens else self.encode(*pair)
            for tokens, pair in zip(encoded, ends, strict=True)
        ]

    def encode(self, query: str, response: str) -> Mapping[str, Any]:
        """Token ids and what goes with them, of at most `max_tokens` tokens.

        Raises:
            ScoreError: Even an empty pair is longer.
        """
        query, response = self._end(query), self._end(response)
        tokens: Mapping[str, Any] = self._tokens(query, response)
        # Cutting a text may shift its tokens by one or two, so look again.
        while (excess := len(tokens["input_ids"]) - self._max_tokens) > 0:
            if not (query or response):
                raise ScoreError(f"an empty pair has more than {self._max_tokens} tokens")
            query, response = self._cut(query, response, excess)
            tokens = self._tokens(query, response)
        return tokens

    def pad(self, batch: Sequence[Mapping[str, Any]]) -> Any:
        """A batch of encoded pairs as PyTorch tensors [b, longest]."""
        return self._tokenizer.pad(list(batch), return_tensors="pt")

    def _end(self, text: str) -> str:
        """No more of a text than could be kept, and no lone surrogates: no tokenizer takes them."""
        return text[-self._max_tokens * _LONGEST_TOKEN :].encode("utf-8", "replace").decode()

    def _tokens(self, query: str, response: str) -> Mapping[str, Any]:
        return self._all_tokens([(query, response)])[0]

    def _all_tokens(self, pairs: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
        if self._tokenizer.chat_template:
            texts = [self._as_chat(*pair) for pair in pairs]
            columns = self._tokenizer(texts, add_special_tokens=False)
        else:
            columns = self._tokenizer(
                [query for query, _ in pairs], [response for _, response in pairs]
            )
        return [{name: columns[name][i] for name in columns} for i in range(len(pairs))]

    def _as_chat(self, query: str, response: str) -> str:
        chat = [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
        return str(self._tokenizer.apply_chat_template(chat, tokenize=False))

    def _cut(self, query: str, response: str, excess: int) -> tuple[str, str]:
        if not self._warned:
            self._warned = True
            _log.warning("pairs of more than %d tokens are cut at the beginning", self._max_tokens)
        spare = self._length(query) - self._max_tokens // _QUERY_SHARE
        if spare > 0:
            return self._drop(query, min(spare, excess)), response
        if response:
            return query, self._drop(response, excess)
        return self._drop(query, excess), response

    def _length(self, text: str) -> int:
        return len(self._tokenizer([text], add_special_tokens=False)["input_ids"][0])

    def _drop(self, text: str, count: int) -> str:
        """The text without its first tokens."""
        columns = self._tokenizer([text], add_special_tokens=False, return_offsets_mapping=True)
        offsets = columns["offset_mapping"][0]
        return text[max(1, offsets[count][0]) :] if count < len(offsets) else ""
