"""The model pool: which models may answer, what they cost, and how often each may be sampled."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from bestroute._config import explain, read_yaml
from bestroute._plain import flaw
from bestroute._secrets import ENV_PREFIX, hidden, hide, masked, shown, unwrapped
from bestroute.client import ModelClient
from bestroute.errors import ConfigError, UnknownModelError, UnsetVariableError

_RESERVED = ("model", "messages", "n", "stream", "seed", "caching")
_PROCESS = os.urandom(32)  # a digest of secrets must not be found by guessing


class Arm(NamedTuple):
    """One choice of the router: a model of the pool, sampled `n` times.

    Attributes:
        model: Name of the model in the pool.
        n: Number of samples, at least 1.
    """

    model: str
    n: int

    def __str__(self) -> str:
        """`name:n`, the form used in tables and artifacts."""
        return f"{self.model}:{self.n}"

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Read `name:n` back."""
        model, _, n = text.rpartition(":")
        if not model or not n.isdecimal() or int(n) < 1:
            raise ConfigError(f"{text!r} is not an arm: write it as name:n, for example small:3")
        return cls(model, int(n))


class Price(BaseModel):
    """List price of a model.

    Attributes:
        input: $ per 1M prompt tokens.
        output: $ per 1M completion tokens.
        cached_input: $ per 1M prompt tokens that are read from the provider's prompt cache;
            `None` is the same as `input`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    cached_input: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    def cost(
        self, prompt_tokens: float, completion_tokens: float, cached_tokens: float = 0
    ) -> float:
        """Dollars for so many tokens; `cached_tokens` are the cached share of the prompt's."""
        cached = min(max(cached_tokens, 0), prompt_tokens)
        reading = self.input if self.cached_input is None else self.cached_input
        fresh = prompt_tokens - cached
        return (fresh * self.input + cached * reading + completion_tokens * self.output) / 1e6


class PooledModel(BaseModel):
    """One model of the pool.

    Attributes:
        name: Its name in this pool; by default the LiteLLM id.
        model: LiteLLM model id, for example `openai/gpt-4o`.
        price: $ per 1M tokens; where absent, LiteLLM's price map is asked.
        max_samples: Largest n of its arms.
        reference: Whether it is the model that the others are measured against.
        native_n: Whether the provider returns n choices for one call and bills the prompt once;
            `None` asks LiteLLM.
        max_native_n: Largest n of one call; more samples are drawn by further calls.
        context_window: Prompt plus completion tokens that it holds; `None` asks LiteLLM.
        max_output_tokens: Completion tokens at which the provider itself ends an answer, where
            no `max_tokens` does; `None` asks LiteLLM. Caps on costs set money aside by it.
        vision, audio, video, documents, tools, response_format: What it can do; `None` asks
            LiteLLM, and what nobody knows is taken as possible for tools and response_format,
            not for the rest.
        rpm: Calls a minute that `collect` may make; `None` is no limit.
        params: Further LiteLLM parameters (api_base, temperature, api_key ...). A text
            `os.environ/NAME` is read from the environment at call time. Keys, headers and the
            like are in no dump, nor is what a URL holds besides the address itself.
        client: Who is asked instead of LiteLLM, always by parallel calls; `model` then only
            says whose prices and abilities it has. It is in no dump: not in a saved router.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    model: str = Field(min_length=1)
    name: str = Field(default="", validate_default=False)
    price: Price | None = None
    max_samples: int = Field(default=1, ge=1, le=128)
    reference: bool = False
    native_n: bool | None = None
    max_native_n: int = Field(default=128, ge=1)
    context_window: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1)
    vision: bool | None = None
    audio: bool | None = None
    video: bool | None = None
    documents: bool | None = None
    tools: bool | None = None
    response_format: bool | None = None
    rpm: int | None = Field(default=None, ge=1)
    params: dict[str, Any] = Field(default_factory=dict)
    client: SkipJsonSchema[ModelClient | None] = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _name_defaults_to_model(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and not data.get("name"):
            return {**data, "name": data.get("model") or ""}
        return data

    @field_validator("params")
    @classmethod
    def _guard_params(cls, params: dict[str, Any]) -> dict[str, Any]:
        for key in params:
            if key in _RESERVED:
                raise ValueError(f"params.{key} is set by bestroute itself; remove it")
        if wrong := flaw(params):
            raise ValueError(wrong)
        return {key: hide(key, value) for key, value in params.items()}

    @field_serializer("params")
    def _drop_secrets(self, params: dict[str, Any]) -> Any:
        return shown(params)

    def __getstate__(self) -> dict[Any, Any]:
        """What pickle keeps: no keys."""
        state = super().__getstate__()
        fields = {**state["__dict__"], "params": shown(self.params)}
        return {**state, "__dict__": fields}

    def call_params(self) -> dict[str, Any]:
        """The LiteLLM keyword arguments of `params`, secrets and environment values resolved.

        Raises:
            UnsetVariableError: An `os.environ/NAME` value names a variable that is not set.
        """
        return {key: self._resolve(key, value) for key, value in self.params.items()}

    def masked(self, text: str) -> str:
        """The text without the secrets of `params`, which errors of providers may quote."""
        return masked(text, self.params)

    def _resolve(self, key: str, value: Any) -> Any:
        value = unwrapped(value)
        if isinstance(value, Mapping):
            return {name: self._resolve(f"{key}.{name}", each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._resolve(key, each) for each in value]
        if not isinstance(value, str) or not value.startswith(ENV_PREFIX):
            return value
        variable = value.removeprefix(ENV_PREFIX)
        if variable not in os.environ:
            raise UnsetVariableError(
                f"model {self.name!r}: params.{key} wants the environment variable {variable}, "
                "which is not set"
            )
        return os.environ[variable]


class ModelPool(BaseModel):
    """The models that may answer, exactly one of them the reference.

    Examples:
        >>> pool = ModelPool.from_dict({"models": [
        ...     {"model": "groq/llama-3.1-8b-instant", "name": "small", "max_samples": 5},
        ...     {"model": "openai/gpt-4o", "name": "big", "reference": True},
        ... ]})
        >>> [str(arm) for arm in pool.arms]
        ['small:1', 'small:2', 'small:3', 'small:4', 'small:5', 'big:1']
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    models: tuple[PooledModel, ...]

    @model_validator(mode="after")
    def _check(self) -> ModelPool:
        names = [member.name for member in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the name {twice[0]!r} is used twice; give each model its own name")
        references = [member.name for member in self.models if member.reference]
        if len(references) != 1:
            found = ", ".join(references) or "none"
            raise ValueError(f"exactly one model must have reference: true (found: {found})")
        return self

    @classmethod
    def read(cls, pool: PoolLike) -> ModelPool:
        """A pool out of itself, plain data, or a YAML file.

        Raises:
            ConfigError: Names the field that is wrong and what to write instead.
        """
        if isinstance(pool, ModelPool):
            return pool
        return cls.from_dict(pool) if isinstance(pool, Mapping) else cls.from_yaml(pool)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelPool:
        """Build a pool from plain data.

        Raises:
            ConfigError: Names the field that is wrong and what to write instead.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(explain(error, cls)) from error

    @classmethod
    def from_yaml(cls, source: str | Path) -> ModelPool:
        """Read a pool from a YAML file, or from YAML text that holds a line break.

        Raises:
            ConfigError: Names the file, the line and the field that is wrong.
        """
        where, data, lines = read_yaml(source)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(explain(error, cls, where=where, lines=lines)) from error

    @cached_property
    def reference(self) -> PooledModel:
        """The model that the others are measured against."""
        return next(member for member in self.models if member.reference)

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, model by model in the pool's order, n ascending."""
        return tuple(
            Arm(member.name, n) for member in self.models for n in range(1, member.max_samples + 1)
        )

    @property
    def reference_arm(self) -> Arm:
        """The reference with n = 1: match probability 1 by definition."""
        return Arm(self.reference.name, 1)

    def __getitem__(self, name: str) -> PooledModel:
        """The model of that name.

        Raises:
            UnknownModelError: There is none.
        """
        for member in self.models:
            if member.name == name:
                return member
        known = ", ".join(member.name for member in self.models)
        raise UnknownModelError(f"no model {name!r} in the pool; it holds: {known}")

    @property
    def hidden_digest(self) -> str:
        """What tells two pools apart that are dumped alike; empty where nothing is left out.

        Keyed with a number of this process, so that it says nothing about the secrets. Keys of
        the models (`api_key`) do not count: answers do not depend on them.
        """
        found = [
            (member.name, path, repr(value))
            for member in self.models
            for path, value in hidden(member.params)
            if path != ".api_key"
        ]
        return hmac.digest(_PROCESS, json.dumps(found).encode(), "sha256").hex() if found else ""

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what a trained router depends on: names, ids, sample limits, reference."""
        facts = [[m.name, m.model, m.max_samples, m.reference] for m in self.models]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


PoolLike = ModelPool | Mapping[str, Any] | str | Path
"""A pool in any form that `ModelPool.read` takes."""
