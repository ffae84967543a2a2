"""Small tables on disk."""

from __future__ import annotations

import csv
from pathlib import Path


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by the names of its header."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
