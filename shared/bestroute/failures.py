"""What a failed call means: whose mistake it is, and whether asking again may help."""

from __future__ import annotations

import random
from collections.abc import Iterator

from bestroute._litellm import litellm
from bestroute.errors import BestRouteError

# By name: the HTTP libraries of providers' packages are not ours.
_NOTHING_CAME = {
    "APIConnectionError",
    "ConnectionError",
    "NetworkError",
    "RemoteProtocolError",
    "TimeoutError",
    "TimeoutException",
}
_MAY_REFUSE_N = ("UnsupportedParamsError", "BadRequestError", "UnprocessableEntityError")


def describe(error: BaseException) -> str:
    """Class and first line: messages of providers may quote the whole request."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:300]}"


def may_refuse_n(error: BaseException) -> bool:
    """Whether it may be the parameter n that a provider would not take.

    By LiteLLM's class: a prompt that is too long or against a policy has one of its own.
    """
    return type(error).__name__ in _MAY_REFUSE_N


def is_passing(error: BaseException) -> bool:
    """Whether asking again may help: by the HTTP status, or because none came.

    Packages wrap each other's errors, so the causes are asked as well.
    """
    for each in _causes(error):
        status = getattr(each, "status_code", None) or getattr(each, "code", None)
        if isinstance(status, int):
            return bool(litellm()._should_retry(status))
        if _NOTHING_CAME & {kind.__name__ for kind in type(each).__mro__}:
            return True
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def waiting_time(error: BaseException, usual: float) -> float:
    """Seconds to wait: what the provider asks for, else about as long as usual, with jitter."""
    headers = getattr(error, "litellm_response_headers", None)
    headers = headers or getattr(getattr(error, "response", None), "headers", None) or {}
    asked = str(headers.get("retry-after", ""))
    if asked.replace(".", "", 1).isdecimal():
        return min(float(asked), 60.0)
    return float(usual * random.uniform(0.5, 1.5))


def raise_own(error: BaseException, handled: BaseException | None) -> None:
    """Our own errors mean a mistake in the set-up; LiteLLM wraps them as a provider's.

    Args:
        error: What LiteLLM or a client raised.
        handled: What the caller was handling meanwhile: Python chains that on as well.
    """
    seen: BaseException | None = error
    while seen is not None and seen is not handled:
        if isinstance(seen, BestRouteError):
            raise seen from None
        seen = seen.__cause__ or seen.__context__
