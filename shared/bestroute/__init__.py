"""BEST-Route: pay for the big model only when a query needs it (arXiv 2506.22716)."""
