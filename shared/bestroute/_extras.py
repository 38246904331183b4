"""Optional dependencies, imported when first used, with an error that names the extra."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from bestroute.errors import MissingExtraError


def require(module: str, *, feature: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra installs it.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(feature, extra) from error


def need(*modules: str, feature: str, extra: str) -> None:
    """Make sure that packages are there, without importing them.

    Raises:
        MissingExtraError: One is not installed.
    """
    if any(importlib.util.find_spec(module) is None for module in modules):
        raise MissingExtraError(feature, extra)
