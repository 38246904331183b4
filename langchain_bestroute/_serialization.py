"""What lets LangChain's `load` find a class of ours."""

from __future__ import annotations

from importlib import import_module

from langchain_core.load.serializable import Serializable


def register(cls: type[Serializable]) -> None:
    """Let `load(..., allowed_objects="all", valid_namespaces=["langchain_bestroute"])` build it.

    "all" means the classes of langchain-core's own mapping, which holds its partners only. Being
    in it opens nothing by itself: without `valid_namespaces` the class is still refused.
    """
    path = tuple(cls.lc_id())
    # By name: `langchain_core.load.load`, as an attribute, is the function.
    module = vars(import_module("langchain_core.load.load"))
    # Where a later version lacks one of these, "all" does not know us: the class must be named.
    for mapping in ("SERIALIZABLE_MAPPING", "ALL_SERIALIZABLE_MAPPINGS"):
        module.get(mapping, {})[path] = path
    # What "all" was when somebody asked before us.
    module.get("_default_class_paths_cache", {}).pop("all", None)
