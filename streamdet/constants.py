"""Constants shared by all packages and by training."""

from __future__ import annotations

RATE = 16_000
"""Sample rate in Hz of the audio that every model analyses."""
