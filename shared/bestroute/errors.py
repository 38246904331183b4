"""Every exception that bestroute raises on purpose, one class per kind of mistake.

Each message says what was wrong, where, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bestroute.samples import Call


class BestRouteError(Exception):
    """Base class of all errors of this library."""


class ConfigError(BestRouteError, ValueError):
    """A model pool, or an option, that contradicts itself or cannot be read."""


class UnknownModelError(ConfigError):
    """A model name that is not in the pool."""


class UnsetVariableError(ConfigError):
    """The pool has a value, most often a key, in an environment variable that is not set."""


class MissingPriceError(ConfigError):
    """A price is needed for a decision and neither the pool nor LiteLLM knows it."""


class NotCertifiedError(ConfigError):
    """A drop was to be promised that the calibration queries do not certify."""


class RequestError(BestRouteError, ValueError):
    """A request that no model could be asked, such as empty messages."""


class NoEligibleArmError(RequestError):
    """No arm of the pool can serve this request (context, images, tools ...)."""


class ContextWindowError(NoEligibleArmError):
    """The prompt is too long for the models that could serve it otherwise; a shorter one helps."""


class BudgetError(NoEligibleArmError):
    """What is left of `max_cost`, or of the window budget, does not pay for what was asked.

    Attributes:
        left: $ that are left of it.
        frees_in: Seconds until the window frees enough; `None` where waiting does not help.
    """

    def __init__(self, message: str, *, left: float = 0.0, frees_in: float | None = None) -> None:
        super().__init__(message)
        self.left = left
        self.frees_in = frees_in


class RouterNotTrained(BestRouteError):  # noqa: N818
    """One-shot routing was asked for without a trained router."""


class ArtifactError(BestRouteError):
    """A saved router that is incomplete, damaged, or of an unknown version."""


class PoolMismatchError(ArtifactError):
    """A saved router whose arms are not those of the pool it is used with."""


class DataError(BestRouteError, ValueError):
    """A samples table that is truncated, misses columns, or holds impossible values."""


class ScoreError(BestRouteError):
    """A reward model returned NaN, infinite, missing, or too few scores."""


class PredictionError(BestRouteError):
    """A router gave match probabilities that are none."""


class SampleLimitError(BestRouteError, ValueError):
    """More samples were asked of a model than it can give."""


class UnrecordedError(BestRouteError):
    """The recorded provider was asked for something that no one recorded."""


class MissingExtraError(BestRouteError, ImportError):
    """An optional dependency is absent; the message names the extra that installs it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs an extra: pip install "bestroute[{extra}]"')
        self.feature = feature
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Pickle by what it was made from."""
        return type(self), (self.feature, self.extra)


class SamplingError(BestRouteError):
    """No model of the pool gave a usable response.

    Attributes:
        causes: The exceptions behind it, in the order in which they happened.
        calls: Every call made, with what it cost: nothing already paid for is lost.
    """

    def __init__(
        self, message: str, *, causes: Sequence[BaseException] = (), calls: Sequence[Call] = ()
    ) -> None:
        super().__init__(message)
        self.causes = tuple(causes)
        self.calls = tuple(calls)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with causes of other packages as text: few of their exceptions survive it."""
        causes = tuple(each if _is_plain(each) else _as_text(each) for each in self.causes)
        return type(self), (str(self),), {**vars(self), "causes": causes}


class RefusedRequestError(SamplingError, RequestError):
    """A provider refused the request itself, as another model would."""


class PromptTooLongError(SamplingError, ContextWindowError):
    """Every model that was asked found the prompt too long."""


class DeadlineError(SamplingError, TimeoutError):
    """The time of the whole call was over before any model gave a response."""


def _is_plain(error: BaseException) -> bool:
    return isinstance(error, BestRouteError) or type(error).__module__ == "builtins"


def _as_text(error: BaseException) -> BestRouteError:
    return BestRouteError(f"{type(error).__name__}: {error}")
