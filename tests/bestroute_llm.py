"""BestRouteLLM in the standard suite for LlamaIndex LLMs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.llamaindex_suite import LLMSuite


def _member(name: str, max_samples: int, price: float) -> dict[str, Any]:
    return {
        "model": f"openai/{name}",
        "max_samples": max_samples,
        "native_n": True,
        "reference": name == "big",
        "vision": True,
        "audio": True,
        "documents": True,
        "context_window": 8000,
        "price": {"input": price, "output": price},
    }


SMALL, BIG = _member("small", 3, 0.1), _member("big", 1, 10)


class BestRouteSuite(LLMSuite):
    """What `BestRouteLLM` claims; `members` are its pool."""

    members: ClassVar[tuple[dict[str, Any], ...]]
    accepts_n = False  # the router chooses it
    metadata_params = {name: name for name in ("context_window", "is_function_calling_model")}

    @pytest.fixture(autouse=True)
    def _nothing_refused(self, _served: None) -> Iterator[None]:
        """Another model may have answered what one refused."""
        yield
        assert self.provider.refused == []

    @property
    def llm_class(self) -> type[Any]:
        from llamaindex_bestroute import BestRouteLLM

        return BestRouteLLM

    @property
    def llm_params(self) -> dict[str, Any]:
        at = {"api_base": self.server.url, "api_key": self.api_key}
        return {"pool": {"models": [{**m, "params": at} for m in self.members]}}


class Cascade(BestRouteSuite):
    """Three samples of a small model; where they differ, the big one."""

    members = (SMALL, BIG)
    streams = False


class OneModel(BestRouteSuite):
    """One sample of one model, which streams as it comes."""

    members = (BIG,)
