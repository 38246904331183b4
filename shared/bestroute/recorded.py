"""A LiteLLM provider that answers from recorded samples: `recorded/<model>`.

It asks nobody and makes nothing up: what was not recorded raises. Samples are drawn without
replacement from a permutation seeded by (run seed, query, model), continuing across top-ups and
waves of one routed request. A later wave reads a long prompt from the cache, as with providers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from bestroute._litellm import litellm
from bestroute._routed import cached_from, drawn_so_far, recorded_before
from bestroute.errors import SampleLimitError, UnrecordedError

PROVIDER = "recorded"
_NOT_SAMPLING = ("n", "stream", "stream_options", "seed", "user", "extra_body", "max_retries")
_MESSAGE_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id")


class Recording:
    """Recorded samples by (model, exact normalised messages, sampling parameters).

    Args:
        rows: Rows of the samples table with `model`, `messages`, `sampling`, `response`,
            `finish_reason`, `prompt_tokens` and `completion_tokens`; `logprob` where recorded.
        seed: Run seed of the permutations.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], *, seed: int = 0) -> None:
        self.seed = seed
        self._rows: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            messages, sampling = json.loads(row["messages"]), json.loads(row["sampling"])
            key = recording_key(row["model"], messages, sampling)
            self._rows.setdefault(key, []).append(row)

    def install(self) -> None:
        """Make LiteLLM answer `recorded/<model>` from this recording, besides earlier ones."""
        handler = _handler()
        handler.recordings.append(self)
        _announce(handler)

    def uninstall(self) -> None:
        """Take it away again."""
        _handler().recordings.remove(self)

    def __contains__(self, key: str) -> bool:
        """Whether something was recorded under a key."""
        return key in self._rows

    def take(self, key: str, n: int) -> list[Mapping[str, Any]]:
        """The next n samples of this routed request.

        Raises:
            SampleLimitError: Fewer than n are left.
        """
        rows = self._rows[key]
        state = drawn_so_far.get()
        start = state.get(key, 0) if state is not None else recorded_before.get()
        if start + n > len(rows):
            raise SampleLimitError(
                f"{n} samples asked, {len(rows) - start} of {len(rows)} recorded ones are left"
            )
        if state is not None:
            state[key] = start + n
        digest = hashlib.sha256(f"{self.seed}\n{key}".encode()).digest()
        order = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(len(rows))
        return [rows[index] for index in order[start : start + n]]


def recording_key(
    model: str, messages: Sequence[Mapping[str, Any]], sampling: Mapping[str, Any]
) -> str:
    """What a recorded sample is found by; equal requests give equal keys.

    Text parts are joined, 1.0 is 1, absent fields and what does not change the answer's
    distribution (n, stream, seed) are dropped.
    """
    normal = [_normal(message) for message in messages]
    params = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in sampling.items()
        if key not in _NOT_SAMPLING and value is not None
    }
    return json.dumps([model, normal, params], sort_keys=True, ensure_ascii=False)


def _normal(message: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: message[name] for name in _MESSAGE_FIELDS if message.get(name)}
    parts = kept.get("content")
    if isinstance(parts, list) and all(part.get("type") == "text" for part in parts):
        kept["content"] = "\n".join(part["text"] for part in parts)
    return kept


@cache
def _handler() -> Any:
    """The one handler of this process."""
    base: Any = litellm().CustomLLM

    class RecordedProvider(base):  # type: ignore[misc]
        """Answers out of the installed recordings."""

        def __init__(self) -> None:
            super().__init__()
            self.recordings: list[Recording] = []

        def completion(self, **call: Any) -> Any:
            """One recorded response with n choices."""
            return _answer(self.recordings, call)

        async def acompletion(self, **call: Any) -> Any:
            """The same for async callers."""
            return _answer(self.recordings, call)

        def streaming(self, **call: Any) -> Any:
            """One recorded response, word by word."""
            yield from _pieces(_answer(self.recordings, call))

        async def astreaming(self, **call: Any) -> Any:
            """The same for async callers."""
            for piece in _pieces(_answer(self.recordings, call)):
                yield piece

    return RecordedProvider()


def _announce(handler: Any) -> None:
    """Make LiteLLM know the handler, once; an application may have replaced the map since."""
    module = litellm()
    if all(each["custom_handler"] is not handler for each in module.custom_provider_map):
        module.custom_provider_map.append({"provider": PROVIDER, "custom_handler": handler})
        module.utils.custom_llm_setup()


def _answer(recordings: Sequence[Recording], call: Mapping[str, Any]) -> Any:
    params = dict(call["optional_params"])
    key = recording_key(call["model"], call["messages"], params)
    recording = next((each for each in reversed(recordings) if key in each), None)
    if recording is None:
        raise UnrecordedError(f"nothing recorded under {key[:300]}")
    rows = recording.take(key, params.get("n") or 1)
    module = litellm()
    choices = [
        {
            "index": index,
            "finish_reason": row["finish_reason"],
            "message": {"role": "assistant", "content": row["response"]},
            "logprobs": _logprobs(row),
        }
        for index, row in enumerate(rows)
    ]
    prompt, completion = rows[0]["prompt_tokens"], sum(row["completion_tokens"] for row in rows)
    usage = module.Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details={"cached_tokens": prompt if prompt >= cached_from.get() else 0},
    )
    return module.ModelResponse(model=call["model"], choices=choices, usage=usage)


def _logprobs(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Only the mean was recorded: the whole response stands as one token."""
    if row.get("logprob") is None:
        return None
    return {"content": [{"token": row["response"], "logprob": row["logprob"], "top_logprobs": []}]}


def _pieces(response: Any) -> Iterable[dict[str, Any]]:
    """LiteLLM's generic streaming chunks: words, then the end with the usage."""
    text = response.choices[0].message.content
    for index, word in enumerate(text.split(" ")):
        yield _piece(word if index == 0 else f" {word}")
    usage = response.usage
    yield {
        **_piece(""),
        "is_finished": True,
        "finish_reason": response.choices[0].finish_reason,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        },
    }


def _piece(text: str) -> dict[str, Any]:
    return {
        "text": text,
        "is_finished": False,
        "finish_reason": "",
        "usage": None,
        "index": 0,
        "tool_use": None,
    }
