"""LlamaIndex's callbacks around a stream, so that leaving it stops the provider at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, closing
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Decorator = Callable[[], Callable[..., Any]]


def streaming(
    callback: _Decorator,
) -> Callable[[Callable[_P, Generator[_T, None, None]]], Callable[_P, Generator[_T, None, None]]]:
    """A method that streams, with LlamaIndex's callbacks.

    LlamaIndex's generator does not close the one that it reads from, and a handler that keeps
    the exception keeps that one alive.

    Args:
        callback: `llm_chat_callback` or `llm_completion_callback`.
    """

    def decorate(
        ask: Callable[_P, Generator[_T, None, None]],
    ) -> Callable[_P, Generator[_T, None, None]]:
        @wraps(ask)
        def stream(*args: _P.args, **kwargs: _P.kwargs) -> Generator[_T, None, None]:
            asked: list[Generator[_T, None, None]] = []

            def keep(*args: _P.args, **kwargs: _P.kwargs) -> Generator[_T, None, None]:
                asked.append(ask(*args, **kwargs))
                return asked[0]

            told = callback()(keep)(*args, **kwargs)
            return _closing_both(told, asked[0])

        return stream

    return decorate


def astreaming(
    callback: _Decorator,
) -> Callable[
    [Callable[_P, Coroutine[Any, Any, AsyncGenerator[_T, None]]]],
    Callable[_P, Coroutine[Any, Any, AsyncGenerator[_T, None]]],
]:
    """The same for an async method."""

    def decorate(
        ask: Callable[_P, Coroutine[Any, Any, AsyncGenerator[_T, None]]],
    ) -> Callable[_P, Coroutine[Any, Any, AsyncGenerator[_T, None]]]:
        @wraps(ask)
        async def stream(*args: _P.args, **kwargs: _P.kwargs) -> AsyncGenerator[_T, None]:
            asked: list[AsyncGenerator[_T, None]] = []

            async def keep(*args: _P.args, **kwargs: _P.kwargs) -> AsyncGenerator[_T, None]:
                asked.append(await ask(*args, **kwargs))
                return asked[0]

            told = await callback()(keep)(*args, **kwargs)
            return _aclosing_both(told, asked[0])

        return stream

    return decorate


def _closing_both(
    told: Generator[_T, None, None], asked: Generator[_T, None, None]
) -> Generator[_T, None, None]:
    with closing(told), closing(asked):
        for response in told:  # noqa: UP028 - `yield from` would close LlamaIndex's one first
            yield response


async def _aclosing_both(
    told: AsyncGenerator[_T, None], asked: AsyncGenerator[_T, None]
) -> AsyncGenerator[_T, None]:
    async with aclosing(told), aclosing(asked):
        async for response in told:
            yield response
