"""What a failed call means: whose mistake it is, and whether asking again may help."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Iterator, Mapping
from enum import Enum

from bestroute._litellm import litellm
from bestroute.errors import BestRouteError, BudgetError, SamplingError

# By name: the HTTP libraries of providers' packages are not ours.
_NOTHING_CAME = {
    "APIConnectionError",
    "ConnectionError",
    "NetworkError",
    "RemoteProtocolError",
    "TimeoutError",
    "TimeoutException",
}
_NO_TRUST = {"SSLError", "CertificateError"}
# Classes of LiteLLM's, and codes in the bodies of OpenAI's kind that it overlooks.
_TOO_LONG = {"ContextWindowExceededError", "context_length_exceeded", "PromptTooLongError"}
_NOT_OF_THE_REQUEST = {
    "ContentPolicyViolationError",  # another provider may think otherwise
    "RejectedRequestError",
    "content_filter",
    "content_policy_violation",
    "UnsupportedParamsError",  # another model may take it
}
_MAY_REFUSE_N = ("UnsupportedParamsError", "BadRequestError", "UnprocessableEntityError")
_A_KEY = re.compile(r"API[ _]KEY", re.I)
_LONGEST_WAIT = 60.0


class Failure(Enum):
    """Kinds of failures, by what is done about them; docs/reliability.md has the table."""

    PASSING = "passing"
    """No connection, no answer in time, a server's failure, nonsense: it may pass."""
    BUSY = "busy"
    """A rate limit: it passes, and says nothing against the model."""
    BARRED = "barred"
    """No valid key, no right, no money, no such model, no trust: it will not pass soon."""
    TOO_LONG = "too long"
    """The prompt is too long for this model."""
    REFUSED = "refused"
    """The request itself is at fault."""
    OTHER = "other"
    """This model will not answer this request; another may."""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The kind of an exception, by HTTP status, else by class.

        Packages wrap each other's errors, so that the causes are asked as well.
        """
        names = {kind.__name__ for each in _causes(error) for kind in type(each).__mro__}
        names |= {str(getattr(each, "code", None)) for each in _causes(error)}
        statuses = [status for each in _causes(error) if (status := _status(each))]
        if names & _TOO_LONG or 413 in statuses:  # to LiteLLM, 413 is a rate limit
            return cls.TOO_LONG
        if names & _NO_TRUST or lacks_key(error):
            return cls.BARRED
        if "RefusedRequestError" in names:  # of a router that is a member of the pool
            return cls.REFUSED
        if statuses:
            return cls._by_status(statuses[0], names)
        return cls.PASSING if names & _NOTHING_CAME else cls.OTHER

    @classmethod
    def _by_status(cls, status: int, names: set[str]) -> Failure:
        if status in (401, 402, 403, 404):
            return cls.BARRED
        if status in (400, 422):
            return cls.OTHER if names & _NOT_OF_THE_REQUEST else cls.REFUSED
        if status == 429:
            return cls.BUSY
        return cls.PASSING if litellm()._should_retry(status) else cls.OTHER


def describe(error: BaseException) -> str:
    """Class and first line: messages of providers may quote the whole request."""
    if (keyless := next(filter(_is_missing_key, _causes(error)), None)) is not None:
        # A client's own is nothing that the pool could give it.
        hint = ". In a pool: params.api_key" if _is_litellms(error) else ""
        return f"no API key ({_first_line(keyless).rstrip('.')}{hint})"
    name, first = type(error).__name__, _first_line(error)
    while first != (first := first.removeprefix("litellm.").removeprefix(f"{name}: ")):
        pass  # LiteLLM repeats the class
    return f"{name}: {first}"


def _is_litellms(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "litellm"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]


def lacks_key(error: BaseException) -> bool:
    """Whether it is for want of a key that nobody was asked, whatever status LiteLLM gives it."""
    return any(map(_is_missing_key, _causes(error)))


def may_refuse_n(error: BaseException) -> bool:
    """Whether it may be the parameter n that a provider would not take.

    By LiteLLM's class: a prompt that is too long or against a policy has one of its own.
    """
    return type(error).__name__ in _MAY_REFUSE_N


def is_passing(error: BaseException) -> bool:
    """Whether asking again may help."""
    return Failure.of(error) in (Failure.PASSING, Failure.BUSY)


def waiting_time(error: BaseException, usual: float) -> float:
    """Seconds to wait: what the provider asks for, else about as long as usual, with jitter.

    Infinite where it asks for so long that nobody should wait: another model is faster.
    """
    headers = getattr(error, "litellm_response_headers", None)
    headers = headers or getattr(getattr(error, "response", None), "headers", None) or {}
    asked = _asked_to_wait(headers)
    if asked is None:
        return float(usual * random.uniform(0.5, 1.5))
    return asked if asked <= _LONGEST_WAIT else math.inf


def _asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for; `None` without one that makes sense."""
    asked = str(headers.get("retry-after", ""))
    try:
        seconds = float(asked)
    except ValueError:
        # A date is that of the provider's clock; ours may be wrong.
        then = _date(asked)
        now = _date(str(headers.get("date", ""))) or time.time()
        seconds = math.nan if then is None else then - now
    return seconds if seconds >= 0 else None


def _date(text: str) -> float | None:
    from email.utils import parsedate_to_datetime  # late: it brings much that few need

    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    for status in (getattr(error, "status_code", None), getattr(error, "code", None)):
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    return None


def _is_missing_key(error: BaseException) -> bool:
    """Whether a package would not even ask; LiteLLM takes that for a server's failure."""
    kind = type(error)
    if kind is ValueError:  # LiteLLM's own, of Gemini, Fireworks ...
        return _A_KEY.search(str(error)) is not None
    return kind.__module__.partition(".")[0] == "openai" and kind.__name__ == "OpenAIError"


def is_mistake(error: BaseException) -> bool:
    """Whether it is one in the set-up, and no failure of a model.

    A router that is a member of a pool fails as models do.
    """
    return isinstance(error, BestRouteError) and not isinstance(error, BudgetError | SamplingError)


def raise_own(error: BaseException, handled: BaseException | None) -> None:
    """Raise our own errors as they are; LiteLLM wraps them as a provider's.

    Args:
        error: What LiteLLM or a client raised; it is parted from `handled`.
        handled: What the caller was handling meanwhile, another story: Python chains that on.
    """
    for each in _causes(error):
        if handled is not None and each.__context__ is handled:
            each.__context__ = None
    for each in _causes(error):
        if isinstance(each, BestRouteError):
            raise each from None
