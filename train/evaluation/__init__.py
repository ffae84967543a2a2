"""Scores a bundle through the serving road: engine, then decision."""
