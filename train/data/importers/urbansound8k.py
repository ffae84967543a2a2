"""UrbanSound8K: slices of field recordings from Freesound in ten folds (Salamon et al. 2014).

Layout: ``metadata/UrbanSound8K.csv`` and ``audio/fold1`` to ``audio/fold10``. All slices of a
recording (``fsID``) are in one fold. The licence of the whole set is CC BY-NC 3.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from train.data.importers.clip import SourceClip, find_split, read_metadata_table

SPLITS = {**{str(fold): "train" for fold in range(1, 9)}, "9": "val", "10": "test"}


def list_clips(folder: Path) -> Iterator[SourceClip]:
    """Yield the files of the set; raises TrainError if its metadata can't be read."""
    path = folder / "metadata" / "UrbanSound8K.csv"
    for row in read_metadata_table(path, "slice_file_name", "fsID", "fold", "class"):
        name, fold = row["slice_file_name"], row["fold"]
        yield SourceClip(
            file=folder / "audio" / f"fold{fold}" / name,
            name=Path(name).stem,
            classes=(row["class"],),
            split=find_split(SPLITS, fold, path),
            source="UrbanSound8K",
            group=f"fs:{row['fsID']}",
            licence="CC-BY-NC-3.0",
        )
