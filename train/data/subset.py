"""Make a data folder of some of another folder's clips: the same files, fewer rows."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from train.data.checks import COLUMNS, read_manifest
from train.data.corpus import CorpusError, read_exclusions

UNIT_COLUMNS = {"source": "source", "recording": "origin_group", "clip": "path"}
"""The column by which clips are included or left out together, for each ``unit``."""


def write_subset(data: Path, to: Path, matching: dict[str, str], unit: str, *, others: bool) -> int:
    """Write a data folder ``to`` with some of the clips of ``data``; returns their number.

    It includes every unit (source, recording or clip) that has a clip whose columns equal
    ``matching``; with ``others``, every other unit. The audio files stay where they are.

    Raises CorpusError for an unknown column, and if no clip is left.
    """
    rows = read_manifest(data)
    manifest = data / "manifest.csv"
    if unknown := matching.keys() - set(COLUMNS):
        raise CorpusError(
            f"{manifest}: no column {', '.join(sorted(unknown))}. Use one of {', '.join(COLUMNS)}."
        )
    column = UNIT_COLUMNS[unit]
    units = {r[column] for r in rows if all(r[k] == v for k, v in matching.items())}
    chosen = [r for r in rows if (r[column] in units) != others]
    if not chosen:
        raise CorpusError(f"{manifest}: no clip matches the selection")
    to.mkdir(parents=True, exist_ok=True)
    for row in chosen:
        row["path"] = Path(os.path.relpath(data / row["path"], to)).as_posix()
    with (to / "manifest.csv").open("w", newline="", encoding="utf-8") as sink:
        table = csv.DictWriter(sink, list(chosen[0]))
        table.writeheader()
        table.writerows(chosen)
    with (to / "exclusions.csv").open("w", newline="", encoding="utf-8") as sink:
        table = csv.writer(sink)
        table.writerow(["path", "reason"])
        for path, reason in read_exclusions(data).items():
            table.writerow([Path(os.path.relpath(data / path, to)).as_posix(), reason])
    return len(chosen)
