"""A small embedding for LlamaIndex that needs no network and no torch."""

from __future__ import annotations

from functools import cache

from llama_index.core.embeddings import BaseEmbedding

from bestroute.routers.static import StaticEncoder


class StaticEmbedding(BaseEmbedding):
    """Static word embeddings: small, deterministic, on this machine."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return [float(value) for value in _encoder().encode([text])[0]]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


@cache
def _encoder() -> StaticEncoder:
    return StaticEncoder()
