"""`bestroute serve`: routers in LiteLLM's proxy."""
