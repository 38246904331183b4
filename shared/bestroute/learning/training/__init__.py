"""Training: outcomes -> a router."""
