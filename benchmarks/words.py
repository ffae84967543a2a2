"""Format numbers and tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PLATFORM_NAMES = {"cpu": "JAX"}
"""Names of the platforms for readers."""


def format_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Format a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(format_value, row)) + " |" for row in rows])


def format_value(value: Any) -> str:
    """Format a number, or a summary as median (minimum to maximum)."""
    if isinstance(value, dict):
        low, high = (format_value(value[k]) for k in ("min", "max"))
        return f"{format_value(value['median'])} ({low} to {high})"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return PLATFORM_NAMES.get(value, str(value))
