"""What a search for a promised threshold found, and why it found nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Certificate(BaseModel):
    """Whether a drop can be promised, and by which threshold.

    Attributes:
        max_drop: The drop asked for, relative to always-reference.
        confidence: Probability, over calibration sets, that the promise holds.
        n_queries: Calibration queries.
        threshold: The lowest certified threshold; `None` if none that saves anything passes.
        drop: The drop measured at that threshold (a point estimate); 0 without one.
        cost_per_1k: Mean realised $ for 1,000 calibration queries at that threshold, or of
            always-reference without one.
        cost_cut: Share saved of what always-reference costs; 0 when that is free.
        smallest_drop: Without a threshold: the smallest drop that could be certified; `None`
            if no drop could, such as when the router never leaves the reference.
        queries_needed: Without a threshold: about how many queries would certify one; `None`
            if no number of queries like these would.
    """

    model_config = ConfigDict(frozen=True)

    max_drop: float
    confidence: float
    n_queries: int
    threshold: float | None
    drop: float
    cost_per_1k: float
    cost_cut: float
    smallest_drop: float | None = None
    queries_needed: int | None = None

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        asked = f"a drop of at most {self.max_drop:.2%} at confidence {self.confidence:g}"
        if self.threshold is not None:
            return (
                f"Threshold {self.threshold:g} promises {asked}. On the {self.n_queries} "
                f"calibration queries it cut cost by {self.cost_cut:.0%} at a drop of "
                f"{self.drop:.2%}."
            )
        text = f"{asked[0].upper()}{asked[1:]} is not certifiable with {self.n_queries} queries"
        if self.smallest_drop is None:
            return f"{text}, and no other drop is: no threshold that saves anything passes."
        text += f"; the smallest certifiable drop is {self.smallest_drop:.2%}."
        if self.queries_needed is None:
            return (
                f"{text} The safest threshold that saves anything already lost more than that "
                "here, so more queries may not help: train on more, or allow a larger drop."
            )
        return f"{text} About {self.queries_needed:,} queries would be needed (an estimate)."
