"""Failures in LangChain's words: what retries, fallbacks and summaries decide by.

Every error stays what it is in `bestroute.errors`, and is one of LangChain's kind as well. The
classes are made here, for earlier versions of LangChain have few of these kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from langchain_core import exceptions

from bestroute.errors import (
    BestRouteError,
    ContextWindowError,
    DeadlineError,
    PromptTooLongError,
    RefusedRequestError,
    SamplingError,
)
from bestroute.failures import is_passing

_Error = TypeVar("_Error", bound=BestRouteError)

_OVERFLOW = "ContextOverflowError"
_MIXED = "ModelError"
# By name: LiteLLM, HTTP libraries and the packages of chat models have classes of their own.
_BY_NAME = {
    "ContextWindowExceededError": _OVERFLOW,
    **dict.fromkeys(("TimeoutError", "TimeoutException", "APITimeoutError"), "ModelTimeoutError"),
    **dict.fromkeys(
        ("APIConnectionError", "ConnectionError", "NetworkError", "RemoteProtocolError"),
        "ModelConnectionError",
    ),
}
_BY_STATUS = {
    401: "ModelAuthenticationError",
    403: "ModelPermissionDeniedError",
    404: "ModelNotFoundError",
    408: "ModelTimeoutError",
    429: "ModelRateLimitError",
}
_REFUSED = "ModelInvalidRequestError"
_BROKEN = "ModelAPIError"
_NAMES = (_OVERFLOW, _MIXED, _REFUSED, _BROKEN, "ModelConnectionError", *_BY_STATUS.values())


def _both(own: type[_Error], name: str) -> type[_Error]:
    """A class that is our own error and LangChain's of that name."""
    kind = getattr(exceptions, name, exceptions.LangChainException)
    made = type(own.__name__ + name, (own, kind), {"__module__": __name__})
    globals()[made.__name__] = made  # where pickle looks for it
    return made


_OURS = (SamplingError, RefusedRequestError, PromptTooLongError, DeadlineError)
_FAILED = {own: {name: _both(own, name) for name in _NAMES} for own in _OURS}
_TOO_LONG = _both(ContextWindowError, _OVERFLOW)


@contextmanager
def in_langchains_words() -> Iterator[None]:
    """Raise an error of the engine as LangChain's kind of error too.

    Where models failed for different reasons, that is `ModelError`, and to be tried again if
    one of the reasons may pass.
    """
    try:
        yield
    except SamplingError as error:
        raise _told(error).with_traceback(error.__traceback__) from error.__cause__
    except ContextWindowError as error:
        raise _TOO_LONG(str(error)).with_traceback(error.__traceback__) from error.__cause__


def _told(error: SamplingError) -> SamplingError:
    kinds = {_kind(cause) for cause in error.causes}
    name = kinds.pop() if len(kinds) == 1 else _MIXED
    told = _FAILED[type(error)][name](str(error), causes=error.causes, calls=error.calls)
    if name == _MIXED:
        told.is_retryable = any(map(_may_pass, error.causes))  # type: ignore[attr-defined]
    return told


def _kind(cause: BaseException) -> str:
    for base in type(cause).__mro__:
        if base.__name__ in _NAMES:
            return base.__name__
        if base.__name__ in _BY_NAME:
            return _BY_NAME[base.__name__]
    status = getattr(cause, "status_code", None) or getattr(cause, "code", None)
    if not isinstance(status, int) or status < 400:
        return _MIXED
    return _BROKEN if status >= 500 else _BY_STATUS.get(status, _REFUSED)


def _may_pass(cause: BaseException) -> bool:
    if isinstance(told := getattr(cause, "is_retryable", None), bool):
        return told
    # Ours says that a model gave no usable response: another time it may.
    return isinstance(cause, SamplingError) or is_passing(cause)
