"""A bundle: a folder with ``weights.safetensors`` and ``card.json``, all a detector needs.

The card holds the frontend, the network's shape and labels, the operating points, and
where it all comes from (data and licences, seed, commit, figures). Loading reads numbers
and text, nothing that runs, and refuses a bundle that is damaged or not ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from streamdet.model.frontend import FrontendConfig
from streamdet.model.lstm import ModelConfig, Params, param_shapes

SCHEMA = "streamdet.bundle/1"
ZOO = Path(__file__).with_name("zoo")
DEFAULT = "second"
_LARGEST_CARD = 4 << 20


class BundleError(ValueError):
    """The bundle can't be used; the message is one line: where, what, what to do."""


@dataclass(frozen=True)
class OperatingPoint:
    """A named threshold and what it measured, as figures for people to read."""

    threshold: float
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A detector in memory: ``params`` is a nested dict of float32 numpy arrays."""

    name: str
    version: str
    sha256: str
    frontend: FrontendConfig
    model: ModelConfig
    operating_points: Mapping[str, OperatingPoint]
    default_point: str
    params: Params
    card: Mapping[str, Any]


def load(folder: Path | None = None) -> Bundle:
    """Read a bundle; without a folder, the one that is shipped.

    Raises BundleError where the folder, its card or its weights are missing, damaged,
    foreign, or not what the card says.
    """
    folder = ZOO / DEFAULT if folder is None else folder
    card = _read_card(folder)
    weights = folder / "weights.safetensors"
    try:
        raw = weights.read_bytes()
    except OSError as error:
        raise BundleError(f"{weights}: {error.strerror}; is {folder} a whole bundle?") from error
    sha256 = hashlib.sha256(raw).hexdigest()
    if sha256 != card.get("sha256"):
        raise BundleError(f"{weights}: not the weights of its card (sha256 differs); copy it again")
    try:
        flat = safetensors.numpy.load(raw)
    except safetensors.SafetensorError as error:
        raise BundleError(f"{weights}: damaged: {error}; copy it again") from error
    try:
        bundle = _from_card(card, sha256, flat)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{folder / 'card.json'}: not a usable card: {what}") from error
    _check_tensors(bundle.model, flat, weights)
    return bundle


def save(
    folder: Path,
    *,
    name: str,
    version: str,
    frontend: FrontendConfig,
    model: ModelConfig,
    params: Params,
    operating_points: Mapping[str, OperatingPoint],
    default_point: str,
    about: Mapping[str, Any],
) -> Path:
    """Write a bundle; ``about`` is whatever else its card should say. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    flat = {
        f"{layer}/{tensor}": np.ascontiguousarray(array, np.float32)
        for layer, tensors in params.items()
        for tensor, array in tensors.items()
    }
    raw = safetensors.numpy.save(flat)
    card = {
        "schema": SCHEMA,
        "name": name,
        "version": version,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "frontend": asdict(frontend),
        "model": asdict(model),
        "default_point": default_point,
        "operating_points": {k: asdict(p) for k, p in operating_points.items()},
        **about,
    }
    (folder / "weights.safetensors").write_bytes(raw)
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return folder


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / "card.json"
    try:
        if path.stat().st_size > _LARGEST_CARD:
            raise BundleError(f"{path}: too large for a card; is {folder} a bundle?")
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; is {folder} a bundle?") from error
    except ValueError as error:
        raise BundleError(f"{path}: not JSON: {error}") from error
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        raise BundleError(f"{path}: not a {SCHEMA} card; this streamdet reads no other")
    return card


def _from_card(card: dict[str, Any], sha256: str, flat: Mapping[str, np.ndarray]) -> Bundle:
    shape = dict(card["model"])
    model = ModelConfig(
        bands=int(shape.pop("bands")),
        conv=tuple(_triple(layer) for layer in shape.pop("conv")),
        cells=tuple(int(c) for c in shape.pop("cells")),
        norm=bool(shape.pop("norm", False)),
        patch=_pair(patch) if (patch := shape.pop("patch", None)) else None,
        residual=tuple(_pair(layer) for layer in shape.pop("residual", [])),
        norm_cells=bool(shape.pop("norm_cells", False)),
        backgrounds=tuple(int(c) for c in shape.pop("backgrounds", [])),
        labels=tuple(str(label) for label in shape.pop("labels")),
    )
    if shape:
        raise ValueError(f"unknown model keys {sorted(shape)}")
    points = {
        str(k): OperatingPoint(float(p["threshold"]), p.get("figures", {}))
        for k, p in card["operating_points"].items()
    }
    default = str(card["default_point"])
    if default not in points:
        raise ValueError(f"the default point {default!r} is not among {sorted(points)}")
    if model.labels[0] != "gunshot":
        raise ValueError("the first label is not 'gunshot'")
    params: Params = {}
    for path, array in flat.items():
        layer, _, tensor = path.partition("/")
        params.setdefault(layer, {})[tensor] = array
    return Bundle(
        name=str(card["name"]),
        version=str(card["version"]),
        sha256=sha256,
        frontend=FrontendConfig(**card["frontend"]),
        model=model,
        operating_points=points,
        default_point=default,
        params=params,
        card=card,
    )


def _pair(two: list[int]) -> tuple[int, int]:
    first, second = (int(n) for n in two)
    return first, second


def _triple(layer: list[int]) -> tuple[int, int, int]:
    channels, kernel, stride = (int(n) for n in layer)
    return channels, kernel, stride


def _check_tensors(config: ModelConfig, flat: Mapping[str, np.ndarray], path: Path) -> None:
    wanted, found = param_shapes(config), {k: a.shape for k, a in flat.items()}
    if wanted != found:
        odd = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        raise BundleError(f"{path}: tensors differ from the card's network: {', '.join(odd[:4])}")
    for name, array in flat.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise BundleError(f"{path}: {name} is not finite float32; copy it again")
