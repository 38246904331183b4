"""Importers: recorded responses of public layouts as samples tables, one file a layout."""

from collections.abc import Mapping

from bestroute.learning.importers.alpaca_eval import read_alpaca_eval
from bestroute.learning.importers.base import Imported, Importer
from bestroute.learning.importers.best_route import read_best_route
from bestroute.learning.importers.llmrouterbench import read_llmrouterbench
from bestroute.learning.importers.mot_date import read_mot_date
from bestroute.learning.importers.routellm import read_routellm
from bestroute.learning.importers.routerbench import read_routerbench
from bestroute.learning.importers.zeroeval import read_zeroeval

IMPORTERS: Mapping[str, Importer] = {
    "alpaca-eval": read_alpaca_eval,
    "best-route": read_best_route,
    "llmrouterbench": read_llmrouterbench,
    "mot-date": read_mot_date,
    "routellm": read_routellm,
    "routerbench": read_routerbench,
    "zeroeval": read_zeroeval,
}
"""Layout -> importer."""

__all__ = ["IMPORTERS", "Imported", "Importer"]
