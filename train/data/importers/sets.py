"""The public sets that `data import` reads, and the importer of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

from train.data.importers import esc50, fsd50k, sesa, shotspotter, urbansound8k
from train.data.importers.clip import SourceClip


class PublicSet(StrEnum):
    """The name of a public set on the command line and in ``classes.csv``."""

    URBANSOUND8K = "urbansound8k"
    ESC50 = "esc50"
    FSD50K = "fsd50k"
    SESA = "sesa"
    SHOTSPOTTER = "shotspotter"


IMPORTERS: dict[PublicSet, Callable[[Path], Iterator[SourceClip]]] = {
    PublicSet.URBANSOUND8K: urbansound8k.list_clips,
    PublicSet.ESC50: esc50.list_clips,
    PublicSet.FSD50K: fsd50k.list_clips,
    PublicSet.SESA: sesa.list_clips,
    PublicSet.SHOTSPOTTER: shotspotter.list_clips,
}
