"""A part of a data folder as a data folder of its own: the same files, fewer rows."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from train.data.checks import COLUMNS, read_manifest
from train.data.corpus import CorpusError, read_exclusions

UNIT_COLUMNS = {"source": "source", "recording": "origin_group", "clip": "path"}
"""The column of what is kept or left as a whole."""


def write_subset(data: Path, to: Path, wanted: dict[str, str], by: str, *, others: bool) -> int:
    """Write ``to`` with every clip of the sources (or recordings, or the clips alone: ``by``) that
    have one whose columns are as ``wanted``, or, for ``others``, every other clip; returns how
    many. The files stay where they are.

    Raises CorpusError for a column that there is none of, and where nothing is left.
    """
    rows = read_manifest(data)
    if unknown := wanted.keys() - set(COLUMNS):
        raise CorpusError(f"{data / 'manifest.csv'}: no column {', '.join(sorted(unknown))}")
    whole = UNIT_COLUMNS[by]
    having = {r[whole] for r in rows if all(r[k] == v for k, v in wanted.items())}
    chosen = [r for r in rows if (r[whole] in having) != others]
    if not chosen:
        raise CorpusError(f"{data / 'manifest.csv'}: no clip is left by what was asked")
    to.mkdir(parents=True, exist_ok=True)
    for row in chosen:
        row["path"] = Path(os.path.relpath(data / row["path"], to)).as_posix()
    with (to / "manifest.csv").open("w", newline="", encoding="utf-8") as sink:
        table = csv.DictWriter(sink, list(chosen[0]))
        table.writeheader()
        table.writerows(chosen)
    left_out = read_exclusions(data)
    with (to / "exclusions.csv").open("w", newline="", encoding="utf-8") as sink:
        table = csv.writer(sink)
        table.writerow(["path", "reason"])
        for path, reason in left_out.items():
            table.writerow([Path(os.path.relpath(data / path, to)).as_posix(), reason])
    return len(chosen)
