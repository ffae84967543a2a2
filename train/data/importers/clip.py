"""What an importer yields for each file of a public set, and readers of the sets' metadata."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.data.table import read_rows
from train.errors import TrainError


@dataclass(frozen=True)
class SourceClip:
    """One audio file of a public set, as the set's metadata describes it.

    ``name`` is the name of the FLAC to write, without suffix. ``classes`` are the set's own names.
    ``arrivals`` are the onsets of shots, in seconds from the start of the file. ``trim`` removes
    digital silence from both ends.
    """

    file: Path
    name: str
    classes: tuple[str, ...]
    split: str
    source: str
    group: str
    licence: str
    arrivals: tuple[float, ...] = ()
    trim: bool = False


def read_metadata_table(path: Path, *columns: str) -> list[dict[str, str]]:
    """Read a CSV file of a set's metadata; raises TrainError if it or a value is missing."""
    try:
        rows = read_rows(path)
    except FileNotFoundError as error:
        raise TrainError(f"{path}: no such file. Give the folder of the unpacked set.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainError(f"{path}: can't be read: {error}") from error
    if not rows:
        raise TrainError(f"{path}: no rows")
    for number, row in enumerate(rows, start=1):
        if missing := [column for column in columns if row.get(column) is None]:
            raise TrainError(f"{path}: row {number} has no {', '.join(missing)}")
    return rows


def read_metadata_json(path: Path) -> Any:
    """Read a JSON file of a set's metadata; raises TrainError if it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainError(f"{path}: no such file. Give the folder of the unpacked set.") from error
    except (OSError, ValueError) as error:
        raise TrainError(f"{path}: can't be read: {error}") from error


def find_split(splits: dict[str, str], fold: str, path: Path) -> str:
    """Return the split of a fold; raises TrainError, naming the metadata's path, for another."""
    if fold not in splits:
        raise TrainError(f"{path}: unknown fold {fold!r}; expected {', '.join(splits)}")
    return splits[fold]
