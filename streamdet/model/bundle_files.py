"""A bundle's two files: ``card.json`` and ``weights.safetensors``, read with care.

Reading takes numbers and text, nothing that runs, and refuses what is damaged or foreign.
"""

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

CARD, WEIGHTS = "card.json", "weights.safetensors"
_MAX_CARD_BYTES = 4 << 20


class BundleError(ValueError):
    """The bundle can't be used; the message is one line: where, what, what to do."""


def read_card(folder: Path, schemas: tuple[str, ...]) -> dict[str, Any]:
    """The card of a bundle, of one of these schemas."""
    path = folder / CARD
    try:
        if path.stat().st_size > _MAX_CARD_BYTES:
            raise BundleError(f"{path}: too large for a card; is {folder} a bundle?")
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; is {folder} a bundle?") from error
    except ValueError as error:
        raise BundleError(f"{path}: not JSON: {error}") from error
    if not isinstance(card, dict) or card.get("schema") not in schemas:
        raise BundleError(f"{path}: not a {schemas[0]} card; this streamdet reads no other")
    return card


def read_weights(path: Path, sha256: object) -> dict[str, np.ndarray]:
    """Every tensor of a file by ``layer/tensor``; ``sha256`` is what its card says of it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; is {path.parent} a whole bundle?") from error
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise BundleError(f"{path}: not the weights of its card (sha256 differs); copy it again")
    try:
        return safetensors.numpy.load(raw)
    except safetensors.SafetensorError as error:
        raise BundleError(f"{path}: damaged: {error}; copy it again") from error


def check_tensors(
    flat: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """Raise BundleError where tensors are not the network's, or not finite float32."""
    found = {k: a.shape for k, a in flat.items()}
    if wanted != found:
        odd = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        raise BundleError(f"{path}: tensors differ from the card's network: {', '.join(odd[:4])}")
    for name, array in flat.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise BundleError(f"{path}: {name} is not finite float32; copy it again")


def unflatten(flat: Mapping[str, np.ndarray]) -> Params:
    """``layer/tensor`` as layers of tensors."""
    params: Params = {}
    for path, array in flat.items():
        layer, _, tensor = path.partition("/")
        params.setdefault(layer, {})[tensor] = array
    return params


def pack_weights(params: Params) -> tuple[bytes, str]:
    """Layers of tensors as a safetensors file of float32, and its sha256."""
    flat = {
        f"{layer}/{tensor}": np.ascontiguousarray(array, np.float32)
        for layer, tensors in params.items()
        for tensor, array in tensors.items()
    }
    raw = safetensors.numpy.save(flat)
    return raw, hashlib.sha256(raw).hexdigest()


def write_bundle(folder: Path, card: dict[str, Any], weights: bytes) -> None:
    """Write both files; raises BundleError where the folder can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_bytes(weights)
        (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")
    except OSError as error:
        raise BundleError(f"{folder}: can't be written: {error.strerror}") from error
