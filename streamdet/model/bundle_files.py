"""Reading and writing the files of a bundle: ``card.json``, ``weights.safetensors``, with a second
stage ``verifier.safetensors``, and ONNX graphs of the same networks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from streamdet.model.config import Params

CARD, WEIGHTS, VERIFIER_WEIGHTS = "card.json", "weights.safetensors", "verifier.safetensors"
DETECTOR_GRAPH = "detector.onnx"
VERIFIER_GRAPHS = ENCODER_GRAPH, HEAD_GRAPH = "verifier-encoder.onnx", "verifier-head.onnx"
GRAPH_WEIGHTS_KEY = "weights_sha256"
"""The key of a graph's metadata with the checksum of the weights that it was made from."""
_MAX_CARD_BYTES = 4 << 20


class BundleError(ValueError):
    """The bundle can't be used; the message is one line: where, what is wrong, what to do."""


def read_card(folder: Path, schemas: tuple[str, ...]) -> dict[str, Any]:
    """Read a card. Raises BundleError if it is missing, not JSON, or not of one of ``schemas``."""
    path = folder / CARD
    try:
        if path.stat().st_size > _MAX_CARD_BYTES:
            raise BundleError(f"{path}: too large for the card of a bundle")
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"{folder}: not a model bundle, has no {CARD}") from error
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path}: not JSON: {error}") from error
    if not isinstance(card, dict) or card.get("schema") not in schemas:
        raise BundleError(f"{path}: not a card of {' or '.join(schemas)}")
    return card


def read_weights(path: Path, sha256: object) -> dict[str, np.ndarray]:
    """Read all tensors of a file, by ``layer/tensor``. ``sha256``: its checksum, from the card.

    Raises BundleError if the file is missing, damaged, or has another checksum.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: {error.strerror}. Is {path.parent} a complete bundle?"
        ) from error
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise BundleError(f"{path}: sha256 differs from the card's. Copy the bundle again")
    try:
        return safetensors.numpy.load(raw)
    except safetensors.SafetensorError as error:
        raise BundleError(f"{path}: damaged: {error}. Copy the bundle again") from error


def find_graphs(folder: Path) -> dict[str, Path]:
    """The ONNX files of a bundle, by name."""
    paths = [folder / name for name in (DETECTOR_GRAPH, *VERIFIER_GRAPHS)]
    return {path.name: path for path in paths if path.is_file()}


def check_tensors(
    flat: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """Raise BundleError if the tensors do not have the network's names and ``shapes``, or are not
    finite float32."""
    found = {k: a.shape for k, a in flat.items()}
    if shapes != found:
        names = sorted(k for k in shapes.keys() | found.keys() if shapes.get(k) != found.get(k))
        raise BundleError(f"{path}: tensors do not fit the card: {', '.join(names[:4])}")
    for name, array in flat.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise BundleError(f"{path}: {name} is not finite float32. Copy the bundle again")


def unflatten(flat: Mapping[str, np.ndarray]) -> Params:
    """Tensors by ``layer/tensor`` as ``{layer: {tensor: array}}``."""
    params: Params = {}
    for path, array in flat.items():
        layer, _, tensor = path.partition("/")
        params.setdefault(layer, {})[tensor] = array
    return params


def pack_weights(params: Params) -> tuple[bytes, str]:
    """The bytes of a safetensors file of float32, and their sha256."""
    flat = {
        f"{layer}/{tensor}": np.ascontiguousarray(array, np.float32)
        for layer, tensors in params.items()
        for tensor, array in tensors.items()
    }
    raw = safetensors.numpy.save(flat)
    return raw, hashlib.sha256(raw).hexdigest()


def write_bundle(
    folder: Path, card: dict[str, Any], weights: bytes, verifier_weights: bytes | None = None
) -> None:
    """Write the files of a bundle, and remove ONNX graphs of other weights. Raises BundleError if
    the folder can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_bytes(weights)
        for outdated in find_graphs(folder).values():
            outdated.unlink()
        if verifier_weights is not None:
            (folder / VERIFIER_WEIGHTS).write_bytes(verifier_weights)
        (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")
    except OSError as error:
        raise BundleError(f"{folder}: can't write: {error.strerror}") from error
