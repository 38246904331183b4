"""Secrets planted wherever a user may put one, and the search for them."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Body, ChatServer, Reply

VARIABLE = "SOMEWHERE_API_KEY"
WORD = "canary"
"""In every secret, and nowhere else."""


def canary(place: str) -> str:
    """The secret of a place."""
    return f"{place}-{WORD}-0451"


@dataclass
class Cage:
    """A pool full of secrets, a server that quotes them, and all that was logged.

    Attributes:
        pool: Plain data; `walled` never answers.
        options: Of a call: they hold secrets as well.
        server: Quotes headers and body of what it refuses.
        refuses: Models that are refused.
        logged: Records of our loggers at DEBUG, and of LiteLLM's at INFO: at DEBUG it writes down
            the headers and the body of a call, which no caller can prevent.
    """

    server: ChatServer
    refuses: set[str] = field(default_factory=set)
    logged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.reply = self._reply

    @property
    def pool(self) -> dict[str, Any]:
        host = self.server.url.removeprefix("http://").removesuffix("/v1")
        return {
            "models": [
                {
                    "model": "openai/small",
                    "name": "small",
                    "max_samples": 2,
                    "price": {"input": 1, "output": 2},
                    "params": {
                        "api_base": self.server.url,
                        "api_key": canary("key"),
                        "extra_headers": {"X-Proxy": canary("header")},
                        "extra_body": {"a": [{"client_secret": canary("nested")}]},
                        "extra_query": {"sig": canary("query")},
                    },
                },
                {
                    "model": "openai/walled",
                    "name": "walled",
                    "price": {"input": 99, "output": 99},
                    "params": {
                        "api_base": f"http://{canary('user')}:{canary('pw')}@{host}/v1?x={canary('x')}"
                    },
                },
                {
                    "model": "openai/big",
                    "name": "big",
                    "reference": True,
                    "price": {"input": 9, "output": 9},
                    "params": {"api_base": self.server.url, "api_key": f"os.environ/{VARIABLE}"},
                },
            ]
        }

    @property
    def options(self) -> dict[str, Any]:
        return {
            "extra_headers": {"X-Call": canary("call-header")},
            "extra_body": {"session_token": canary("call-token")},
        }

    def _reply(self, body: Body) -> Reply:
        if body["model"] not in self.refuses:
            return Reply("It is 51")
        said = f"denied {json.dumps(body)} {self.server.headers[-1]}"
        return Reply(said, status=401)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what is logged."""
        ear = _Ear(self.logged)
        names = ("bestroute", "langchain_bestroute", "llamaindex_bestroute", *_LITELLM)
        loggers = [logging.getLogger(name) for name in names]
        before = [logger.level for logger in loggers]
        for logger in loggers:
            logger.addHandler(ear)
            logger.setLevel(logging.INFO if logger.name in _LITELLM else logging.DEBUG)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.removeHandler(ear)
                logger.setLevel(level)

    def served(self) -> str:
        """All that the server got: secrets that never left would prove nothing."""
        return f"{self.server.headers}{self.server.requests}"


_LITELLM = ("LiteLLM", "LiteLLM Router")


class _Ear(logging.Handler):
    def __init__(self, logged: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self.logged = logged

    def emit(self, record: logging.LogRecord) -> None:
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        self.logged.append(f"{record.name}: {record.getMessage()}{trace}")


def shown(*things: Any) -> dict[str, str]:
    """Every way in which these are written down, by what it is."""
    found: dict[str, str] = {}
    for thing in things:
        name = type(thing).__name__
        found |= {f"repr {name}": repr(thing), f"str {name}": str(thing)}
        found[f"vars {name}"] = repr(getattr(thing, "__dict__", ""))
        for dump in ("model_dump", "model_dump_json", "to_dict", "to_json", "plain"):
            if hasattr(thing, dump):
                found[f"{dump} {name}"] = repr(getattr(thing, dump)())
        if isinstance(thing, BaseException):
            found |= _of_error(thing)
        found[f"pickle {name}"] = repr(pickle.dumps(thing))
    return found


def _of_error(error: BaseException) -> dict[str, str]:
    found = {f"traceback {type(error).__name__}": "".join(traceback.format_exception(error))}
    behind = [*getattr(error, "causes", ()), error.__cause__, error.__context__]
    for each in behind:
        if each is not None:
            place = f"cause {type(each).__name__}"
            found[place] = f"{each!r}{each}{vars(each)}" + "".join(traceback.format_exception(each))
    return found


def files(folder: Path) -> dict[str, str]:
    """Everything under a folder."""
    return {str(path): repr(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def assert_free(places: dict[str, str]) -> None:
    """No secret in any of these."""
    assert places
    for place, text in places.items():
        assert WORD not in text, f"{place}: {text[max(0, text.find(WORD) - 200) :][:300]}"


@pytest.fixture
def cage(chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cage]:
    """Secrets in place, and all loggers heard."""
    monkeypatch.setenv(VARIABLE, canary("environment"))
    cage = Cage(chat_server)
    with cage.listening():
        yield cage
