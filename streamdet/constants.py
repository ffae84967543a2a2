"""Constants that every part of the product and of training shares."""

from __future__ import annotations

RATE = 16_000
"""Sample rate of all audio that a model analyses, in Hz."""
