"""Options and helpers that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from train.errors import TrainError

if TYPE_CHECKING:
    from streamdet.model.bundle import Bundle

Data = Annotated[Path, typer.Option(help="Folder with manifest.csv and the audio.")]
Cache = Annotated[Path, typer.Option(help="Folder of the clips that `prepare` decoded.")]
Runs = Annotated[Path, typer.Option(help="Folder for checkpoints and logs, one subfolder per run.")]
Records = Annotated[Path, typer.Option(help="A tagger's clips: the output of `audioset convert`.")]
Classes = Annotated[
    Path, typer.Option(help="Folder with class_labels_indices.csv and ontology.json.")
]
Workers = Annotated[int, typer.Option(help="Processes that mix scenes in advance.")]
Hours = Annotated[
    float,
    typer.Option(help="Stop at the first checkpoint after this time.", show_default="no limit"),
]
Scenes = Annotated[Path, typer.Option(help="Folder of the sets of stored scenes.")]
TeacherFolder = Annotated[Path, typer.Option(help="Folder with the taggers' weights.")]
Positions = Annotated[
    Path,
    typer.Option(
        help="Folder with sensors.csv and tests.csv: the distances of field recordings. Skipped if "
        "it does not exist."
    ),
]
ConfigName = Annotated[str, typer.Argument(help="Name of a file in train/configs/.")]

DATA, CACHE, RUNS = Path("../shared/data"), Path(".cache/corpus"), Path(".cache/runs")
RECORDS, CLASSES = Path(".cache/bal"), Path("../shared/data/audioset")
SCENES, TEACHERS = Path(".cache/scenes"), Path("../shared/teachers")
VAL, PACKAGES = Path(".cache/val"), Path(".cache/packages")
POSITIONS = Path("../shared/locate")
NO_LIMIT = 1e9


def load_bundle(folder: Path | None) -> Bundle:
    """Load a bundle, the default one for None; raises TrainError if it can't be read."""
    from streamdet.model import bundle as bundles

    try:
        return bundles.load(folder)
    except bundles.BundleError as error:
        raise TrainError(str(error)) from error
