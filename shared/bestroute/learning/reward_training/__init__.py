"""The proxy reward model, trained on preference pairs."""
