"""FSD50K: 51,197 clips from Freesound with labels of AudioSet's ontology (Fonseca et al. 2022).

Layout: ``FSD50K.ground_truth/{dev,eval}.csv``, ``FSD50K.dev_audio/``, ``FSD50K.eval_audio/``, and
licence and uploader of each clip in ``FSD50K.metadata/{dev,eval}_clips_info_FSD50K.json``. The set
states no recordings, so a group has the clips of one uploader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from train.data.importers.clip import (
    SourceClip,
    find_split,
    read_metadata_json,
    read_metadata_table,
)
from train.errors import TrainError

SPLITS = {"train": "train", "val": "val", "eval": "test"}


def list_clips(folder: Path) -> Iterator[SourceClip]:
    """Yield the files of the set; raises TrainError if its metadata can't be read."""
    for part, columns in (("dev", ("fname", "labels", "split")), ("eval", ("fname", "labels"))):
        path = folder / "FSD50K.ground_truth" / f"{part}.csv"
        rows = read_metadata_table(path, *columns)
        about = folder / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json"
        infos = read_metadata_json(about)
        for row in rows:
            name = row["fname"]
            try:
                uploader, licence = infos[name]["uploader"], name_licence(infos[name]["license"])
            except (KeyError, TypeError) as error:
                raise TrainError(f"{about}: no uploader and license of clip {name}") from error
            yield SourceClip(
                file=folder / f"FSD50K.{part}_audio" / f"{name}.wav",
                name=name,
                classes=tuple(row["labels"].split(",")),
                split=find_split(SPLITS, row.get("split", part), path),
                source="FSD50K",
                group=f"freesound-user:{uploader}",
                licence=licence,
            )


def name_licence(url: str) -> str:
    """Return the SPDX name of a Creative Commons licence, or the URL itself if it is another."""
    found = re.search(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)/([\d.]+)", url)
    if found is None:
        return url
    kind, version = found.groups()
    return f"CC0-{version}" if kind == "zero" else f"CC-{kind.upper()}-{version}"
