"""Read the weights of a public tagger from a safetensors file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from train.errors import TrainError

# tensors, values and classes of each file, which tell a whole file from another network's
EXPECTED = {"yamnet": (58, 3_746_329, 521), "mn04": (129, 1_044_343, 527)}

Params = dict[str, np.ndarray]


def load_weights(folder: str | Path, name: str) -> tuple[Params, tuple[str, ...]]:
    """Read ``name``.safetensors: float32 arrays by name, and the class names in output order.

    Raises TrainError if the file is missing, damaged or of another network.
    """
    path = Path(folder) / f"{name}.safetensors"
    help_line = "docs/training.md tells where to get it"
    if not path.is_file():
        raise TrainError(f"{path}: no such file: {help_line}")
    try:
        with safe_open(path, framework="np") as file:
            params = {key: file.get_tensor(key).astype(np.float32) for key in file.keys()}  # noqa: SIM118
            classes = tuple((file.metadata() or {}).get("classes", "").split("\n"))
    except (SafetensorError, OSError) as error:
        raise TrainError(f"{path}: damaged: {error}: {help_line}") from error
    found = len(params), sum(p.size for p in params.values()), len(classes)
    if found != EXPECTED[name] or not all(np.isfinite(p).all() for p in params.values()):
        raise TrainError(f"{path}: not the weights of {name}: {help_line}")
    return params, classes
