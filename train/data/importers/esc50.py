"""ESC-50: 2,000 clips of 5 s from Freesound in five folds (Piczak 2015).

Layout: ``meta/esc50.csv`` and ``audio/``. All clips of a recording (``src_file``) are in one fold.
The licence is CC BY-NC 3.0, but CC BY 3.0 for the clips of the subset ESC-10.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from train.data.importers.clip import SourceClip, find_split, read_metadata_table

SPLITS = {"1": "train", "2": "train", "3": "train", "4": "val", "5": "test"}


def list_clips(folder: Path) -> Iterator[SourceClip]:
    """Yield the files of the set; raises TrainError if its metadata can't be read."""
    path = folder / "meta" / "esc50.csv"
    for row in read_metadata_table(path, "filename", "fold", "category", "esc10", "src_file"):
        yield SourceClip(
            file=folder / "audio" / row["filename"],
            name=Path(row["filename"]).stem,
            classes=(row["category"],),
            split=find_split(SPLITS, row["fold"], path),
            source="github:karolpiczak/ESC-50",
            group=f"fs:{row['src_file']}",
            licence="CC-BY-3.0" if row["esc10"] == "True" else "CC-BY-NC-3.0",
        )
