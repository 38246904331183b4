"""Decide again after each wave of samples: accept, sample on, try another model, or escalate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

from bestroute.errors import ConfigError
from bestroute.policy.base import Accept, Draw, State
from bestroute.policy.belief import FEATURES, Belief, Prices, best_wave
from bestroute.policy.evidence import Evidence
from bestroute.policy.likeness import likeness_encoder
from bestroute.pool import Arm

_TINY = 1e-9
_ALL_WAVES = 64
_LIMITS = ("max_waves", "look_ahead", "dollars_per_second", "deadline")
_PROMISED = ("max_drop", "confidence", "target_cost")


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
        dollars_per_second: What a second of waiting is worth. Above 0 the reference is asked
            ahead, beside a wave, where the time it is likely to save is worth more than the money
            it is likely to waste.
        seconds: How long one wave of each model takes, the reference's among them.
        deadline: Seconds after which nothing is begun that would last beyond; what came so far
            is then accepted. The first wave is always drawn.
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
        dollars_per_second: float = 0.0,
        seconds: Mapping[str, float] | None = None,
        deadline: float | None = None,
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
        if self.reads_similarity:
            likeness_encoder()  # loading it would hold up a request
        self.max_waves = max_waves
        self.look_ahead = look_ahead
        if not 0 <= dollars_per_second < math.inf:
            raise ConfigError(f"dollars_per_second is {dollars_per_second}; expected $, 0 or more")
        self.dollars_per_second = dollars_per_second
        self.seconds = dict(seconds or {})
        if not all(0 <= each < math.inf for each in self.seconds.values()):
            raise ConfigError(f"seconds are {self.seconds}; expected seconds of a wave, by model")
        if deadline is not None and not deadline > 0:
            raise ConfigError(f"deadline is {deadline}; expected seconds above 0")
        self.deadline = deadline
        self.calibrated = calibrated
        self.max_drop = max_drop
        self.confidence = confidence
        self.target_cost = target_cost

    @property
    def reads_similarity(self) -> bool:
        """Whether what was learnt depends on how alike open answers are."""
        at = FEATURES.index("similarity")
        return any(model.weight[:, at].any() for model in self.belief.models.values())

    @property
    def family(self) -> str:
        """What a calibration table is for: all thresholds under the same limits."""
        told = (f"{name}={getattr(self, name):g}" for name in _LIMITS if getattr(self, name))
        return ", ".join((self.name, *told))

    def at(self, threshold: float, **promise: Any) -> Self:
        """The same beliefs and limits at another threshold; `promise` is what it was picked for."""
        unpromised = {"calibrated": False, **dict.fromkeys(_PROMISED)}
        return type(self)(**{**vars(self), **unpromised, "threshold": threshold, **promise})

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
            draw = Draw(model=wave.model, n=wave.n, reason=why, match_probabilities=seen)
            return (draw, *self._ahead(wave, seen, asked, state))
        if asked > had:
            why += f"the reference, worth {asked:.3f}"
            return (Draw(model=reference, n=1, reason=why, match_probabilities=seen, final=True),)
        if answer is None:
            return self._first_of_any(state, wave)
        return Accept(model=answer, reason=why + "accepted", match_probabilities=seen)

    def _wave(
        self, state: State, seen: dict[str, float], outside: float
    ) -> tuple[float, Arm | None]:
        """The best wave of any model and its value; `None` where none is left."""
        waves = min(self.look_ahead or _ALL_WAVES, (self.max_waves or _ALL_WAVES) - state.waves)
        found: list[tuple[float, Arm]] = []
        for model, believed in self.belief.models.items() if waves > 0 else ():
            if not self._may_ask(model, state):
                continue
            arms = [arm for arm in state.arms if arm.model == model]
            prices = later = self._prices(arms, state.costs_again)
            if model not in state.samples and state.costs_again is not state.costs:
                prices = self._prices(arms, state.costs)
            n, now = _now(model, seen, state)
            value, size = best_wave(believed, prices, later, round(outside, 3), waves, n, now)
            if size:
                found.append((value, Arm(model, size)))
        return max(found, default=(-math.inf, None), key=lambda each: each[0])

    def _prices(self, arms: Sequence[Arm], costs: Mapping[Arm, float]) -> Prices:
        """Of waves of one model."""
        waiting = self._waiting(arms[0]) if arms else 0.0
        return tuple([(arm.n, self._price(costs[arm] + waiting)) for arm in arms])

    def _after(self, model: str, state: State) -> float:
        evidence = state.evidence[model]
        return self.belief.models[model].after(_prior(model, evidence.n, state), evidence)

    def _reference_value(self, state: State) -> float:
        """What asking the reference is worth, less its price; -inf where it cannot answer."""
        reference = state.reference
        if reference not in state.arms or not self._may_ask(reference.model, state):
            return -math.inf
        return 1.0 - self._price(self._cost(reference, state))

    def _may_ask(self, model: str, state: State) -> bool:
        """Whether the model has not failed, and its answer would come in time."""
        lasts = state.elapsed + self.seconds.get(model, 0.0)
        in_time = self.deadline is None or not state.samples or lasts <= self.deadline
        return model not in state.failed and in_time

    def _cost(self, arm: Arm, state: State) -> float:
        """$ of a wave, its time included."""
        return state.cost(arm) + self._waiting(arm)

    def _waiting(self, arm: Arm) -> float:
        """$ of the time that a wave takes."""
        return self.dollars_per_second * self.seconds.get(arm.model, 0.0)

    def _ahead(
        self, wave: Arm, seen: Mapping[str, float], asked: float, state: State
    ) -> tuple[Draw, ...]:
        """The reference beside a wave, where waiting for the wave first would cost more."""
        reference = state.reference
        saved = self._waiting(wave)
        too_dear = not state.affords(wave, reference)
        if saved == 0 or asked == -math.inf or too_dear:
            return ()
        n, now = _now(wave.model, seen, state)
        needed = self.belief.models[wave.model].below(n, n + wave.n, now, asked)
        if needed * saved <= (1 - needed) * state.costs[reference]:
            return ()
        why = f"asked ahead: {needed:.0%} likely to be needed"
        return (Draw(model=reference.model, n=1, reason=why, final=True, ahead=True),)

    def _price(self, cost: float) -> float:
        """$ in matches; never worth it: what has no known price, or one beside a free reference."""
        if cost == 0 or self.threshold >= 1:
            return 0.0
        if self.belief.reference_cost == 0:
            return math.inf
        price = (1 - self.threshold) * cost / self.belief.reference_cost
        return math.inf if math.isnan(price) else price

    def _costs_nothing(self, wave: Arm, state: State) -> bool:
        return self.threshold < 1 and self._price(self._cost(wave, state)) == 0

    def _first_of_any(self, state: State, wave: Arm | None) -> tuple[Draw, ...] | Accept:
        """There is nothing to stop with: whatever can be drawn is drawn."""
        arms = [arm for arm in state.arms if arm.model not in state.failed]
        first = wave or min(arms, key=state.cost, default=None)
        if first is None:
            return Accept(reason="every model that could serve the request failed")
        why = f"nothing else can answer: {first}"
        return (Draw(model=first.model, n=first.n, reason=why),)

    def _why(self, seen: dict[str, float], state: State) -> str:
        """What was seen, in words."""
        told = [
            f"{seen[model]:.0%} sure of the best of {evidence.n} of {model}" + _in_words(evidence)
            for model, evidence in state.evidence.items()
            if model in seen
        ]
        return f"{', '.join(told) or 'from the query alone'}: "


def _in_words(evidence: Evidence) -> str:
    """How far several samples agree; of open answers, how alike they are."""
    if evidence.n < 2:
        return ""
    if not math.isnan(evidence.similarity):
        return f" (texts {evidence.similarity:.2f} alike)"
    return f" ({evidence.agreement:.0%} agree)"


def _now(model: str, seen: Mapping[str, float], state: State) -> tuple[int, float]:
    """Samples seen of a model, and the belief now."""
    if model not in state.evidence:
        return 0, _prior(model, 1, state)
    return state.evidence[model].n, seen[model]


def _prior(model: str, n: int, state: State) -> float:
    """The router's match probability, of one sample where it knows no such arm."""
    return state.match.get(Arm(model, n), state.match.get(Arm(model, 1), 0.5))
