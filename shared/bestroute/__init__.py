"""BEST-Route: pay for the big model only when a query needs it (arXiv 2506.22716).

For each query a router picks a model and a number of samples n; a reward model picks the best
of n; the response carries the decision and the cost of everything.
"""
