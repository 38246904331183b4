"""Circuit breaking: a model that fails again and again is left out for a while.

LiteLLM's Router would do that too, but each of its instances registers callbacks that are global
to the process, and it chooses among copies of one model, not between models and n.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bestroute.failures import Failure

_COUNTED = (Failure.PASSING, Failure.BARRED)


@dataclass
class _Health:
    """What is known of a model that failed since it last answered.

    Attributes:
        failures: Draws in a row that brought nothing.
        rests: Times in a row that it was left out.
        until: Until when it is (monotonic seconds).
        why: Class of its last failure.
        failed: When that was (monotonic seconds).
        tried: Whether a draw was sent to try it after its last rest.
    """

    failures: int = 0
    rests: int = 0
    until: float = 0.0
    why: str = ""
    failed: float = 0.0
    tried: bool = False


class Breaker:
    """Which models of an engine are left out just now; for all threads and event loops.

    After `failures` draws in a row that a broken connection, a timeout, a server's failure or
    nonsense ended, a model rests; after a refused key, a missing right or an unknown model it does
    at once. Then one draw tries it: if that fails as well, it rests twice as long.

    Args:
        failures: Draws in a row.
        rest: Seconds of the first rest.
        longest: Seconds of the longest one.
    """

    def __init__(self, *, failures: int = 3, rest: float = 5.0, longest: float = 300.0) -> None:
        self.failures = failures
        self.rest = rest
        self.longest = longest
        self._models: dict[str, _Health] = {}
        self._lock = threading.Lock()

    def resting(self) -> dict[str, str]:
        """The models that are left out now, and why; the least recently failed first."""
        now = time.monotonic()
        with self._lock:
            found = {name: each for name, each in self._models.items() if each.until > now}
            ordered = sorted(found.items(), key=lambda item: item[1].failed)
            return {
                name: f"{name} rests for {each.until - now:.1f} s more after {each.why}"
                for name, each in ordered
            }

    def admits(self, model: str) -> bool:
        """Whether a draw may be sent; after a rest, only the first one may, as a trial."""
        now = time.monotonic()
        with self._lock:
            health = self._models.get(model)
            if health is None or not health.rests:
                return True
            if health.until > now:
                return False
            health.until = now + self._length(health.rests)  # for all others
            health.tried = True
            return True

    def is_tried(self, model: str) -> bool:
        """Whether it has rested and not answered since."""
        with self._lock:
            return model in self._models and self._models[model].rests > 0

    def succeeded(self, model: str) -> None:
        """A draw brought something."""
        if model in self._models:  # the usual case takes no lock
            with self._lock:
                self._models.pop(model, None)

    def failed(self, model: str, errors: Sequence[BaseException]) -> None:
        """A draw brought nothing; one that was sent before a rest does not lengthen it.

        Args:
            model: Name of the model in the pool.
            errors: Why.
        """
        counted = [(kind, each) for each in errors if (kind := Failure.of(each)) in _COUNTED]
        with self._lock:
            if not counted:  # it answers, if not this request
                if model in self._models:
                    self._models[model].until = 0.0
                return
            kind, error = counted[-1]
            health = self._models.setdefault(model, _Health())
            health.failures += 1
            health.failed = time.monotonic()
            health.why = type(error).__name__  # messages may quote keys
            if health.until > health.failed and not health.tried:
                return
            if kind is Failure.BARRED or health.rests or health.failures >= self.failures:
                health.rests, health.tried = health.rests + 1, False
                health.until = health.failed + self._length(health.rests)

    def _length(self, rests: int) -> float:
        return min(self.rest * 2.0 ** min(rests - 1, 60), self.longest)
