"""ChatBestRoute: best-of-n LLM routing as one LangChain chat model."""

from bestroute.errors import MissingExtraError

try:
    from langchain_bestroute.chat_models import ChatBestRoute
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("langchain_core"):
        raise
    raise MissingExtraError("langchain_bestroute", "langchain") from error

__all__ = ["ChatBestRoute"]
