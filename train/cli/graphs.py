"""`python -m train graphs`: the ONNX graphs of a bundle that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def graphs(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle, or its name.")],
) -> None:
    """Write the networks of a detector as ONNX graphs, which onnxruntime runs over long files.

    `recipe`, `export`, `adapt` and `transfer` do so for the bundles that they write.

    Example: python -m train graphs my-bundle
    """
    from streamdet.model.bundle import BundleError, bundle_folder
    from train.errors import TrainError
    from train.onnx.bundle_graphs import write_graphs

    try:
        written = write_graphs(bundle_folder(bundle))
    except BundleError as error:
        raise TrainError(str(error)) from error
    if not written.graphs:
        raise TrainError(f"{bundle}: not a detector, has no networks for onnxruntime")
    for path in written.graphs.values():
        typer.echo(path)
