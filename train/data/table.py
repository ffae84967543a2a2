"""Small CSV tables."""

from __future__ import annotations

import csv
from pathlib import Path


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file as dicts with the header's names as keys."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
