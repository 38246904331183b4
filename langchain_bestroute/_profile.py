"""What a whole pool can do, as LangChain describes a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.language_models.model_profile import ModelProfile

from bestroute import ModelPool, catalog
from bestroute.query import Need

if TYPE_CHECKING:
    from bestroute import BestRoute


def profile(pool: ModelPool) -> ModelProfile:
    """What holds whichever model answers: the smallest context window, what all of them can do.

    A request that needs more is served by the models that can.
    """

    def all_can(need: Need) -> bool:
        return all(catalog.can(member, need) for member in pool.models)

    found = ModelProfile(
        text_inputs=True,
        text_outputs=True,
        image_inputs=all_can("vision"),
        image_url_inputs=all_can("vision"),
        audio_inputs=all_can("audio"),
        video_inputs=all_can("video"),
        pdf_inputs=all_can("documents"),
        tool_calling=all_can("tools"),
        tool_choice=all_can("tools"),
        structured_output=all_can("response_format"),
    )
    windows = [catalog.context_window(member) for member in pool.models]
    known = [window for window in windows if window is not None]
    if len(known) == len(windows):
        found["max_input_tokens"] = min(known)
    return found


def most_tokens(engine: BestRoute, text: str) -> int:
    """Tokens of a text to the model that takes most for it: counted, or as learnt in training."""
    costs = engine.cost_model
    learnt = [costs.prompt_tokens(model, text) for model in costs.stats if text]
    return max(catalog.count_tokens(text), *map(round, learnt), 0)
