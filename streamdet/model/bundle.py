"""Bundles: a detector as a folder with ``weights.safetensors``, ``card.json`` and, if it has a
second stage, ``verifier.safetensors``. It may also have its networks as ONNX graphs.

The card holds the frontend, the network's shape and labels, the operating points, and the
provenance (data and licences, seed, commit, figures). Loading reads numbers and text, never code,
and refuses a bundle that is damaged or of another format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from streamdet.model import bundle_files, tagger_bundle
from streamdet.model.bundle_files import BundleError
from streamdet.model.config import (
    FrontendConfig,
    ModelConfig,
    Params,
    VerifierConfig,
    VggishConfig,
    param_shapes,
    verifier_shapes,
)
from streamdet.model.tagger_bundle import ServedTagger

SCHEMA = "streamdet.bundle/1"
ZOO = Path(__file__).with_name("zoo")
DEFAULT = "third"


@dataclass(frozen=True)
class OperatingPoint:
    """A named threshold, and the figures measured at it, for information.

    ``stage_threshold`` is that of the first stage where the verifier is off, in a bundle with one.
    """

    threshold: float
    figures: Mapping[str, Any]
    stage_threshold: float | None = None


@dataclass(frozen=True)
class Verifier:
    """The second stage of a detector. ``candidate_threshold`` is the gunshot score of the first
    stage from which on a frame is a candidate."""

    config: VerifierConfig
    params: Params
    candidate_threshold: float


@dataclass(frozen=True)
class Bundle:
    """A detector in memory. ``params`` holds numpy arrays; ``card`` is the whole card.

    ``sha256`` identifies all weights. ``verifier`` is the second stage, None for a bundle of one
    stage. ``graphs`` holds the ONNX files of the folder it was read from, by name.
    """

    name: str
    version: str
    sha256: str
    frontend: FrontendConfig | VggishConfig
    model: ModelConfig | ServedTagger
    operating_points: Mapping[str, OperatingPoint]
    default_point: str
    params: Params
    card: Mapping[str, Any]
    verifier: Verifier | None = None
    graphs: Mapping[str, Path] = field(default_factory=dict)

    @property
    def has_graphs(self) -> bool:
        """Whether onnxruntime can run all networks of the bundle."""
        needed = bundle_files.VERIFIER_GRAPHS if self.verifier is not None else ()
        return all(name in self.graphs for name in (bundle_files.DETECTOR_GRAPH, *needed))


def bundle_folder(model: Path | None) -> Path:
    """The folder of a bundle: ``model`` itself, or a shipped bundle if ``model`` is its name and
    no such path exists. None means the default bundle."""
    if model is None:
        return ZOO / DEFAULT
    shipped = ZOO / model.name
    is_name = model == Path(model.name) and not model.exists()
    return shipped if is_name and shipped.is_dir() else model


def load(folder: Path | None = None) -> Bundle:
    """Read a detector or a tagger, by its folder or by the name of a shipped bundle.

    Raises BundleError if the folder, its card or its weights are missing, damaged, of another
    format, or if the weights do not fit the card.
    """
    folder = bundle_folder(folder)
    card = bundle_files.read_card(folder, (SCHEMA, tagger_bundle.SCHEMA))
    if card["schema"] == tagger_bundle.SCHEMA:
        return _load_tagger(folder)
    path = folder / bundle_files.WEIGHTS
    flat = bundle_files.read_weights(path, card.get("sha256"))
    try:
        model = _model(card)
        bundle = _from_card(card, model, bundle_files.unflatten(flat))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{folder / bundle_files.CARD}: invalid card: {problem}") from error
    bundle_files.check_tensors(flat, param_shapes(model), path)
    bundle = replace(bundle, graphs=bundle_files.find_graphs(folder))
    return _with_verifier(bundle, folder) if "verifier" in card else bundle


def _with_verifier(bundle: Bundle, folder: Path) -> Bundle:
    path = folder / bundle_files.VERIFIER_WEIGHTS
    try:
        about = dict(bundle.card["verifier"])
        fields = {**about["model"], "labels": tuple(map(str, about["model"]["labels"]))}
        fields["conv"] = tuple(tuple(map(int, layer)) for layer in fields["conv"])
        config = VerifierConfig(**fields)
        threshold, digest = float(about["candidate_threshold"]), str(about["sha256"])
        if config.labels[:1] != ("gunshot",) or not 0.0 < threshold < 1.0:
            raise ValueError("the verifier's labels or its candidate_threshold")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{folder / bundle_files.CARD}: invalid verifier: {error}") from error
    flat = bundle_files.read_weights(path, digest)
    bundle_files.check_tensors(flat, verifier_shapes(config), path)
    verifier = Verifier(config, bundle_files.unflatten(flat), threshold)
    both = hashlib.sha256((bundle.sha256 + digest).encode()).hexdigest()
    return replace(bundle, verifier=verifier, sha256=both)


def _load_tagger(folder: Path) -> Bundle:
    model, params, card = tagger_bundle.load_served(folder)
    try:
        points, default = _points(card)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{folder / bundle_files.CARD}: invalid card: {error}") from error
    return Bundle(
        name=str(card["name"]),
        version=str(card.get("version", "1")),
        sha256=str(card["sha256"]),
        frontend=VggishConfig(),
        model=model,
        operating_points=points,
        default_point=default,
        params=params,
        card=card,
    )


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
    verifier: Verifier | None = None,
) -> Path:
    """Write a bundle and return its folder. ``about``: further keys of the card.

    Raises BundleError if the folder can't be written.
    """
    raw, digest = bundle_files.pack_weights(params)
    card = {
        "schema": SCHEMA,
        "name": name,
        "version": version,
        "sha256": digest,
        "frontend": asdict(frontend),
        "model": asdict(model),
        "default_point": default_point,
        "operating_points": {k: _describe_point(p) for k, p in operating_points.items()},
        **about,
    }
    verifier_raw = None
    if verifier is not None:
        verifier_raw, verifier_digest = bundle_files.pack_weights(verifier.params)
        card["verifier"] = {
            "sha256": verifier_digest,
            "candidate_threshold": verifier.candidate_threshold,
            "model": asdict(verifier.config),
        }
    bundle_files.write_bundle(folder, card, raw, verifier_raw)
    return folder


def _model(card: dict[str, Any]) -> ModelConfig:
    fields = dict(card["model"])
    model = ModelConfig(
        bands=int(fields.pop("bands")),
        conv=tuple(_triple(layer) for layer in fields.pop("conv")),
        cells=tuple(int(c) for c in fields.pop("cells")),
        norm=bool(fields.pop("norm", False)),
        patch=_pair(patch) if (patch := fields.pop("patch", None)) else None,
        residual=tuple(_pair(layer) for layer in fields.pop("residual", [])),
        norm_cells=bool(fields.pop("norm_cells", False)),
        backgrounds=tuple(int(c) for c in fields.pop("backgrounds", [])),
        labels=tuple(str(label) for label in fields.pop("labels")),
    )
    if fields:
        raise ValueError(f"unknown model keys {sorted(fields)}")
    if model.labels[0] != "gunshot":
        raise ValueError("the first label must be 'gunshot'")
    return model


def _from_card(card: dict[str, Any], model: ModelConfig, params: Params) -> Bundle:
    points, default = _points(card)
    return Bundle(
        name=str(card["name"]),
        version=str(card["version"]),
        sha256=str(card["sha256"]),
        frontend=FrontendConfig(**card["frontend"]),
        model=model,
        operating_points=points,
        default_point=default,
        params=params,
        card=card,
    )


def _points(card: Mapping[str, Any]) -> tuple[dict[str, OperatingPoint], str]:
    points = {
        str(k): OperatingPoint(
            float(p["threshold"]), p.get("figures", {}), p.get("stage_threshold")
        )
        for k, p in card["operating_points"].items()
    }
    default = str(card["default_point"])
    if default not in points:
        raise ValueError(f"default_point {default!r} is not among {sorted(points)}")
    return points, default


def _describe_point(point: OperatingPoint) -> dict[str, Any]:
    return {k: v for k, v in asdict(point).items() if v is not None}


def _pair(values: list[int]) -> tuple[int, int]:
    first, second = (int(n) for n in values)
    return first, second


def _triple(layer: list[int]) -> tuple[int, int, int]:
    channels, kernel, stride = (int(n) for n in layer)
    return channels, kernel, stride
