"""Expected cost of an arm before the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from bestroute import catalog
from bestroute.errors import MissingPriceError
from bestroute.pool import Arm, ModelPool, Price

CHARS_PER_TOKEN = 4.0
DEFAULT_OUTPUT_TOKENS = 256.0


class TokenStats(BaseModel):
    """What a model's traffic looked like on the training split.

    Attributes:
        prompt_base, prompt_ratio: Its prompt tokens are about base + ratio x characters.
        output_tokens: Mean completion tokens of one sample.
    """

    model_config = ConfigDict(frozen=True)

    prompt_base: float = Field(default=0.0, allow_inf_nan=False)
    prompt_ratio: float = Field(default=1 / CHARS_PER_TOKEN, ge=0, allow_inf_nan=False)
    output_tokens: float = Field(default=DEFAULT_OUTPUT_TOKENS, ge=0, allow_inf_nan=False)


_UNKNOWN = TokenStats()


class _Rates(NamedTuple):
    """What the estimates of the pool's arms are made of [A]; prices are in $, NaN if unknown."""

    prompt_base: NDArray[np.float64]
    prompt_ratio: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    prompt_token: NDArray[np.float64]
    cached_token: NDArray[np.float64]
    output_token: NDArray[np.float64]
    cached_from: NDArray[np.float64]


class CostModel:
    """Estimated cost of every arm, from prices, prompt length and expected output length.

    The estimate is input_tokens x input_price (once, if the provider bills the prompt once
    for n) + n x expected_output_tokens x output_price. It never sees a response.

    Args:
        pool: The model pool.
        stats: Token statistics per model, learnt in training; models without are guessed at
            4 characters per token and 256 completion tokens.
    """

    def __init__(self, pool: ModelPool, stats: Mapping[str, TokenStats] | None = None) -> None:
        self.pool = pool
        self.stats = dict(stats or {})
        self._prices: dict[str, Price] = {}
        self._native: dict[str, int] = {}

    def price(self, model: str) -> Price:
        """Price of a model of the pool.

        Raises:
            MissingPriceError: Neither the pool nor LiteLLM knows it.
        """
        if model not in self._prices:
            member = self.pool[model]
            price = catalog.price(member)
            if price is None:
                raise MissingPriceError(
                    f"model {model!r} ({member.model}) has no price in LiteLLM's map; "
                    "add `price: {input: ..., output: ...}` ($ per 1M tokens) to the pool"
                )
            self._prices[model] = price
        return self._prices[model]

    def prompt_tokens(self, model: str, prompt: str) -> float:
        """Estimated prompt tokens of a model, billed once."""
        stats = self.stats.get(model, _UNKNOWN)
        return max(0.0, stats.prompt_base + stats.prompt_ratio * len(prompt))

    def cached_from(self, model: str) -> float:
        """Prompt tokens from which a model's provider reads a prompt that is sent again."""
        return catalog.cached_from(self.pool[model])

    def output_tokens(self, model: str) -> float:
        """Expected completion tokens of one sample."""
        return self.stats.get(model, _UNKNOWN).output_tokens

    def estimate(
        self,
        arm: Arm,
        prompt: str,
        *,
        output_tokens: float | None = None,
        cached_tokens: float = 0,
        again: bool = False,
    ) -> float:
        """Estimated cost of an arm in $.

        Args:
            arm: The arm.
            prompt: All text billed as prompt.
            output_tokens: Expected completion tokens of one sample, where a router predicts
                them for this query.
            cached_tokens: Prompt tokens that the provider still holds in its cache, at most the
                whole prompt: each call of the arm reads them at the cached price.
            again: Whether the model was sent this very prompt a moment ago: its provider then
                reads it from its cache, if it is long enough (`catalog.cached_from`).

        Raises:
            MissingPriceError: The model has no price.
        """
        expected = self.output_tokens(arm.model) if output_tokens is None else output_tokens
        price = self.price(arm.model)
        prompt_tokens = self.prompt_tokens(arm.model, prompt)
        if again and prompt_tokens >= self.cached_from(arm.model):
            cached_tokens = prompt_tokens
        prompt_cost = price.cost(prompt_tokens, 0, cached_tokens)
        return self._calls(arm) * prompt_cost + price.cost(0, arm.n * expected)

    def estimates(
        self,
        arms: Sequence[Arm],
        characters: ArrayLike,
        output_tokens: NDArray[np.float64],
        *,
        again: bool = False,
    ) -> NDArray[np.float64]:
        """Estimated costs of many prompts at once [Q, A] in $, as `estimate` gives them.

        Args:
            arms: A arms.
            characters: Lengths of the prompts [Q].
            output_tokens: Expected completion tokens of one sample [Q, A]; NaN takes the mean of
                the model.
            again: As in `estimate`.

        Raises:
            MissingPriceError: A model has no price.
        """
        stats = [self.stats.get(arm.model, _UNKNOWN) for arm in arms]
        base, ratio, mean = np.array(
            [(each.prompt_base, each.prompt_ratio, each.output_tokens) for each in stats]
        ).T
        per_prompt_token, per_output_token = np.array([self.rates(arm) for arm in arms]).T
        prompt_tokens = (base + np.asarray(characters)[:, None] * ratio).clip(0)
        if again:
            reading = [self.rates(arm, cached=True)[0] for arm in arms]
            short = prompt_tokens < [self.cached_from(arm.model) for arm in arms]
            per_prompt_token = np.where(short, per_prompt_token, reading)
        expected = np.where(np.isnan(output_tokens), mean, output_tokens)
        return np.asarray(per_prompt_token * prompt_tokens + per_output_token * expected)

    def of_prompt(
        self,
        characters: int,
        output_tokens: NDArray[np.float64] | None = None,
        cached_tokens: Mapping[str, float] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimated costs of all arms of the pool [A] in $, as `estimate` gives them.

        Args:
            characters: Length of the prompt.
            output_tokens: Expected completion tokens of one sample [A], where a router predicts
                them.
            cached_tokens: As in `estimate`, by model.

        Returns:
            The costs, and those of the same prompt sent again; NaN where no price is known.
        """
        rates = self._rates
        tokens = np.maximum(rates.prompt_base + rates.prompt_ratio * characters, 0.0)
        expected = rates.output_tokens if output_tokens is None else output_tokens
        costs = tokens * rates.prompt_token + expected * rates.output_token
        less = rates.prompt_token - rates.cached_token
        again = np.where(tokens < rates.cached_from, 0.0, tokens)
        if cached_tokens:
            held = [cached_tokens.get(arm.model, 0.0) for arm in self.pool.arms]
            cached = np.minimum(held, tokens)
            return costs - cached * less, costs - np.maximum(cached, again) * less
        return costs, costs - again * less

    @cached_property
    def _rates(self) -> _Rates:
        arms = self.pool.arms
        stats = [self.stats.get(arm.model, _UNKNOWN) for arm in arms]
        seen = [(each.prompt_base, each.prompt_ratio, each.output_tokens) for each in stats]
        prices = [(*self._known_rates(arm), self.cached_from(arm.model)) for arm in arms]
        return _Rates(*np.array(seen).T, *np.array(prices).T)

    def _known_rates(self, arm: Arm) -> tuple[float, float, float]:
        try:
            return (self.rates(arm)[0], *self.rates(arm, cached=True))
        except MissingPriceError:
            return (np.nan, np.nan, np.nan)

    def rates(self, arm: Arm, *, cached: bool = False) -> tuple[float, float]:
        """What one more prompt token, and one more completion token a sample, cost an arm in $.

        Args:
            arm: The arm.
            cached: Whether the prompt is read from the provider's cache.

        Raises:
            MissingPriceError: The model has no price.
        """
        price, calls = self.price(arm.model), self._calls(arm)
        return price.cost(calls, 0, calls if cached else 0), price.cost(0, arm.n)

    def _calls(self, arm: Arm) -> int:
        """Calls that draw an arm; each bills the prompt once."""
        if arm.model not in self._native:
            self._native[arm.model] = catalog.native_n(self.pool[arm.model])
        return -(-arm.n // self._native[arm.model])
