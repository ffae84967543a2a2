"""Rows of results as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def format_markdown_table(rows: Sequence[dict[str, Any]], decimals: int | None = None) -> str:
    """Format rows with the same keys as a Markdown table; underscores in keys become spaces.

    Floats are written with ``decimals`` decimals; None: as they are.
    """
    head = list(rows[0])
    cells = [[key.replace("_", " ") for key in head], ["---"] * len(head)]
    cells += [[_format_cell(row[key], decimals) for key in head] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _format_cell(value: Any, decimals: int | None) -> str:
    if isinstance(value, float) and decimals is not None:
        return f"{value:.{decimals}f}"
    return str(value)
