"""Decide again after each wave of samples: accept, sample on, try another model, or escalate."""

from __future__ import annotations

import math

from bestroute.errors import ConfigError
from bestroute.policy.base import Accept, Draw, State
from bestroute.policy.belief import Belief, best_wave
from bestroute.pool import Arm

_TINY = 1e-9
_ALL_WAVES = 64


class Adaptive:
    """By expected gain against price, from what the samples show.

    An answer is worth the probability that it matches the reference, whose own answer is worth 1.
    What calls cost is weighed against that: to ask the reference once, at its typical cost, is
    worth 1 - threshold. So at a typical cost an answer is accepted, and the reference not asked,
    where its match probability reaches the threshold; and a further wave is drawn where it is
    expected to gain more than it costs. The router's match probabilities are the prior; agreement,
    scores and lengths of the samples move the belief. One request asks as many models as pay.

    After cascade routing (arXiv 2410.10347) and Pandora's-box stopping (arXiv 2510.01394): every
    model is a box, whose value, solved backwards over its waves, is compared with the best to be
    had without it.

    Args:
        threshold: Smallest match probability at which an answer is accepted, in [0, 1]; above 1
            is always the reference. Lower is cheaper.
        belief: What was learnt from replayed samples.
        max_waves: Waves of samples of a request, the reference's not counted; `None` for any.
        look_ahead: Waves that the worth of a wave is reckoned with; `None` for all that are left.
        calibrated: Whether the threshold was picked on data.
        max_drop, confidence, target_cost: What it was picked for; see `OneShot`.

    Raises:
        ConfigError: An option is out of range.
    """

    name = "adaptive"
    needs_router = True
    reads_scores = True

    def __init__(
        self,
        threshold: float,
        belief: Belief,
        *,
        max_waves: int | None = None,
        look_ahead: int | None = None,
        calibrated: bool = False,
        max_drop: float | None = None,
        confidence: float | None = None,
        target_cost: float | None = None,
    ) -> None:
        self.threshold = float(threshold)
        if not self.threshold >= 0:
            raise ConfigError(f"threshold is {threshold}; expected a number of at least 0")
        for name, waves in (("max_waves", max_waves), ("look_ahead", look_ahead)):
            if waves is not None and waves < 1:
                raise ConfigError(f"{name} is {waves}; expected at least 1")
        self.belief = belief
        self.max_waves = max_waves
        self.look_ahead = look_ahead
        self.calibrated = calibrated
        self.max_drop = max_drop
        self.confidence = confidence
        self.target_cost = target_cost

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """The move of the largest expected value less its price."""
        reference = state.reference.model
        if state.samples.get(reference):
            return Accept(model=reference, reason="the reference answered")
        seen = {model: self._after(model, state) for model in state.evidence if model != reference}
        answer = max(seen, key=lambda model: seen[model], default=None)
        had = -math.inf if answer is None else seen[answer]
        asked = self._reference_value(state)
        stop = max(had, asked)
        value, wave = self._wave(state, seen, stop)
        why = self._why(seen, state)
        if wave is not None and (value > stop + _TINY or self._costs_nothing(wave, state)):
            why += f"{wave.n} more of {wave.model} are worth {value:.3f}, to stop {stop:.3f}"
            return (Draw(model=wave.model, n=wave.n, reason=why),)
        if asked > had:
            why += f"the reference, worth {asked:.3f}"
            return (Draw(model=reference, n=1, reason=why, final=True),)
        if answer is None:
            return self._first_of_any(state, wave)
        return Accept(model=answer, reason=why + "accepted")

    def _wave(
        self, state: State, seen: dict[str, float], outside: float
    ) -> tuple[float, Arm | None]:
        """The best wave of any model and its value; `None` where none is left."""
        waves = min(self.look_ahead or _ALL_WAVES, (self.max_waves or _ALL_WAVES) - state.waves)
        found: list[tuple[float, Arm]] = []
        for model, believed in self.belief.models.items() if waves > 0 else ():
            prices = tuple(
                (arm.n, self._price(state.costs[arm]))
                for arm in state.arms
                if arm.model == model and model not in state.failed
            )
            n = state.evidence[model].n if model in state.evidence else 0
            now = seen[model] if n else _prior(model, 1, state)
            value, size = best_wave(believed, prices, round(outside, 3), waves, n, now)
            if size:
                found.append((value, Arm(model, size)))
        return max(found, default=(-math.inf, None), key=lambda each: each[0])

    def _after(self, model: str, state: State) -> float:
        evidence = state.evidence[model]
        return self.belief.models[model].after(_prior(model, evidence.n, state), evidence)

    def _reference_value(self, state: State) -> float:
        """What asking the reference is worth, less its price; -inf where it cannot answer."""
        can = state.reference in state.arms and state.reference.model not in state.failed
        return 1.0 - self._price(state.costs[state.reference]) if can else -math.inf

    def _price(self, cost: float) -> float:
        """$ in matches; what has no known price is never worth it."""
        if cost == 0 or self.threshold >= 1:
            return 0.0
        price = (1 - self.threshold) * cost / self.belief.reference_cost
        return math.inf if math.isnan(price) else price

    def _costs_nothing(self, wave: Arm, state: State) -> bool:
        return self.threshold < 1 and self._price(state.costs[wave]) == 0

    def _first_of_any(self, state: State, wave: Arm | None) -> tuple[Draw, ...] | Accept:
        """There is nothing to stop with: whatever can be drawn is drawn."""
        arms = [arm for arm in state.arms if arm.model not in state.failed]
        first = wave or min(arms, key=lambda arm: state.costs[arm], default=None)
        if first is None:
            return Accept(reason="every model that could serve the request failed")
        why = f"nothing else can answer: {first}"
        return (Draw(model=first.model, n=first.n, reason=why),)

    def _why(self, seen: dict[str, float], state: State) -> str:
        """What was seen, in words."""
        told = [
            f"{seen[model]:.0%} sure of the best of {evidence.n} of {model}"
            + (f" ({evidence.agreement:.0%} agree)" if evidence.n > 1 else "")
            for model, evidence in state.evidence.items()
            if model in seen
        ]
        return f"{', '.join(told) or 'from the query alone'}: "


def _prior(model: str, n: int, state: State) -> float:
    """The router's match probability, of one sample where it knows no such arm."""
    return state.match.get(Arm(model, n), state.match.get(Arm(model, 1), 0.5))
