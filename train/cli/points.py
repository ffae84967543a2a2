"""`python -m train points`: the operating points of a bundle that exists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from train.cli.options import CACHE, VAL, Cache, load_bundle

if TYPE_CHECKING:
    from streamdet.model.bundle import Bundle


def points(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle. Its card is rewritten.")],
    val: Annotated[Path, typer.Option(help="Val scenes to choose the default threshold on.")] = VAL,
    cache: Cache = CACHE,
) -> None:
    """Choose the operating points of a detector again.

    Measures how often its scores would begin an event in the ambience of the val clips, which
    becomes the background of its card, and the figures of every point.

    Example: python -m train points my-bundle
    """
    from streamdet.model.bundle import bundle_folder
    from train.data.corpus import Corpus
    from train.detector.export import rewrite_bundle
    from train.detector.operating_points import measure_operating_points
    from train.evaluation.scored_sets import score_scenes

    detector = load_bundle(bundle)
    measured = measure_operating_points(detector, Corpus(cache), score_scenes(detector, val))
    print_points(rewrite_bundle(detector, measured.points, measured.about, bundle_folder(bundle)))


def print_points(bundle: Bundle) -> None:
    """Print the operating points of a bundle with their figures, one a line."""
    for name, point in bundle.operating_points.items():
        typer.echo(f"{name}: {point.threshold:.4f} {dict(point.figures)}")
