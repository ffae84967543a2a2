"""Sets of stored scenes, one module for each."""
