"""BestRouteLLM: best-of-n LLM routing as one LlamaIndex model."""

from bestroute.errors import MissingExtraError

try:
    from llamaindex_bestroute._events import BestRouteDecisionEvent, BestRouteSelectionEvent
    from llamaindex_bestroute._llm_client import LLMClient
    from llamaindex_bestroute.llm import BestRouteLLM
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("llama_index"):
        raise
    raise MissingExtraError("llamaindex_bestroute", "llamaindex") from error

__all__ = ["BestRouteDecisionEvent", "BestRouteLLM", "BestRouteSelectionEvent", "LLMClient"]
