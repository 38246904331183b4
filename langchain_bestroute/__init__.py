"""ChatBestRoute: best-of-n LLM routing as one LangChain chat model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bestroute.errors import MissingExtraError

try:
    from langchain_bestroute._chat_client import ChatModelClient
    from langchain_bestroute.chat_models import ChatBestRoute
    from langchain_bestroute.router import BestRouteRouter
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("langchain_core"):
        raise
    raise MissingExtraError("langchain_bestroute", "langchain") from error

if TYPE_CHECKING:
    from langchain_bestroute.middleware import BestRouteMiddleware

__all__ = ["BestRouteMiddleware", "BestRouteRouter", "ChatBestRoute", "ChatModelClient"]


def __getattr__(name: str) -> Any:
    """The middleware when it is first asked for: `langchain.agents` is heavy, and an extra."""
    if name != "BestRouteMiddleware":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from langchain_bestroute.middleware import BestRouteMiddleware
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("langchain", "langgraph"):
            raise
        raise MissingExtraError(name, "agents") from error
    return BestRouteMiddleware
