"""Evaluate a bundle with the engine and the decision that also run in production."""
