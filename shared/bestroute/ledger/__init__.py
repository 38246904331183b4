"""The ledger: one row a routed call in a SQLite file, and what it comes to."""

from bestroute.ledger.ledger import Ledger
from bestroute.ledger.summary import LedgerSummary, summarise

__all__ = ["Ledger", "LedgerSummary", "summarise"]
