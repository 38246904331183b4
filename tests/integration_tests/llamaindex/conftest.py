"""A token counter where query engines look for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llama_index.core import Settings
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler


@pytest.fixture
def counter() -> Iterator[TokenCountingHandler]:
    """Counts the tokens of query engines, which take the callbacks of `Settings` only."""
    before, counter = Settings.callback_manager, TokenCountingHandler()
    Settings.callback_manager = CallbackManager([counter])
    yield counter
    Settings.callback_manager = before
