"""`python -m train data import`: make a data folder from a copy of a public set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from train.data.importers.sets import PublicSet

if TYPE_CHECKING:
    from train.data.importers.writer import ImportSummary


def import_set(
    name: Annotated[PublicSet, typer.Argument(metavar="SET", help="Name of the set.")],
    path: Annotated[Path, typer.Argument(help="Folder of the unpacked set.")],
    to: Annotated[Path, typer.Argument(help="The data folder to make.")],
) -> None:
    """Make a data folder from your copy of a public set.

    Licences, groups and splits come from the set's metadata. Do not distribute a model trained on
    non-commercial clips: all of UrbanSound8K, ESC-50 except ESC-10, part of FSD50K. `data check`
    lists them as serious faults.

    Example: python -m train data import esc50 ESC-50-master .cache/esc50
    """
    from train.data.importers import writer

    summary = writer.import_set(name, path, to)
    for note in _list_omissions(summary):
        typer.echo(note, err=True)
    typer.echo(f"{summary.written} clips in {to}")


def _list_omissions(summary: ImportSummary) -> list[str]:
    """Lines about the files that were left out or moved to another split."""
    notes = [f"{path}: skipped: {reason}" for path, reason in summary.broken]
    if summary.missing:
        notes.append(f"missing files: {len(summary.missing)}, such as {summary.missing[0]}")
    if summary.unmapped:
        classes = ", ".join(f"{name} {count}" for name, count in summary.unmapped.most_common())
        notes.append(f"clips of unknown classes, left out: {classes}")
    if summary.moved:
        notes.append(f"clips moved to the split of the rest of their group: {summary.moved}")
    return notes
