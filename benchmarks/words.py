"""Figures and tables in words, for the pages that benchmarks make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(said, row)) + " |" for row in rows])


def said(value: Any) -> str:
    if isinstance(value, dict):
        low, high = (said(value[k]) for k in ("min", "max"))
        return f"{said(value['median'])} ({low} to {high})"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return BY.get(value, str(value))


BY = {"cpu": "JAX"}
"""Platforms as a reader knows them."""
