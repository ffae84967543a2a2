"""SESA, Sound Events for Surveillance Applications: 585 clips from Freesound (Spadini 2019).

Layout: ``train/`` and ``test/`` with files such as ``gunshot_012.wav``. The name is all that the
set states about a clip. The licence is CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from train.data.importers.clip import SourceClip
from train.errors import TrainError


def list_clips(folder: Path) -> Iterator[SourceClip]:
    """Yield the files of the set; raises TrainError if one of its folders has no WAV files."""
    for split in ("train", "test"):
        files = sorted((folder / split).glob("*.wav"))
        if not files:
            raise TrainError(
                f"{folder / split}: no WAV files. Give the folder of the unpacked set."
            )
        for file in files:
            yield SourceClip(
                file=file,
                name=f"{split}-{file.stem}",
                classes=(file.stem.partition("_")[0],),
                split=split,
                source="SESA",
                group=f"sesa:{split}/{file.stem}",
                licence="CC-BY-4.0",
            )
