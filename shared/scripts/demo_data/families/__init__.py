"""The nine families of prompts: a function each, from a random generator to drafts."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .computed import arithmetic, units, word_problems
from .drafts import Difficulty, Draft
from .facts import facts
from .formats import json_values
from .labels import classification
from .programs import code
from .wording import dates, strings

FAMILIES: dict[str, Callable[[Random], list[Draft]]] = {
    "facts": facts,
    "arithmetic": arithmetic,
    "word_problems": word_problems,
    "dates": dates,
    "strings": strings,
    "units": units,
    "classification": classification,
    "code": code,
    "json": json_values,
}

__all__ = ["FAMILIES", "Difficulty", "Draft"]
