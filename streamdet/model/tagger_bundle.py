"""Taggers on disk: bundles of the schema ``streamdet.tagger/1``.

The card holds the network (`TaggerModelConfig`) and, for use as a detector, the names of the
classes and which of them are gunshots. A tagger's input are VGGish embeddings; VGGish's weights
are in ``vggish.safetensors`` in the same folder, where `python -m train vggish` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamdet.model import bundle_files
from streamdet.model.bundle_files import BundleError
from streamdet.model.config import Params, TaggerModelConfig, VggishConfig

SCHEMA = "streamdet.tagger/1"
VGGISH = "vggish.safetensors"


@dataclass(frozen=True)
class ServedTagger:
    """A tagger in use as a detector. Every 0.96 s it scores the last ``window`` embeddings.

    ``gunshots``: indices of the gunshot classes. ``labels``: "gunshot", whose score is the maximum
    of those classes, then all classes.
    """

    tagger: TaggerModelConfig
    gunshots: tuple[int, ...]
    labels: tuple[str, ...]
    window: int = 10
    stride: int = VggishConfig().patch


def save(
    folder: Path, name: str, model: TaggerModelConfig, params: Params, about: Mapping[str, Any]
) -> None:
    """Write a tagger. ``about``: further keys of the card. Raises BundleError if the folder can't
    be written."""
    raw, digest = bundle_files.pack_weights(params)
    card = {"schema": SCHEMA, "name": name, "sha256": digest, "model": asdict(model), **about}
    bundle_files.write_bundle(folder, card, raw)


def load(folder: Path) -> tuple[TaggerModelConfig, Params, dict[str, Any]]:
    """Read the configuration, the weights and the card of a tagger.

    Raises BundleError if a file is missing, damaged, of another format, or does not fit the card.
    """
    import jax  # imported here because detectors load without JAX

    from streamdet.model import tagger

    card = bundle_files.read_card(folder, (SCHEMA,))
    path = folder / bundle_files.WEIGHTS
    flat = bundle_files.read_weights(path, card.get("sha256"))
    try:
        model = TaggerModelConfig(**{**card["model"], "cells": tuple(card["model"]["cells"])})
        params = jax.eval_shape(lambda: tagger.init_params(model, jax.random.key(0)))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / bundle_files.CARD}: invalid card: {error}") from error
    shapes = {f"{layer}/{t}": x.shape for layer, ts in params.items() for t, x in ts.items()}
    bundle_files.check_tensors(flat, shapes, path)
    return model, bundle_files.unflatten(flat), card


def load_served(folder: Path) -> tuple[ServedTagger, Params, dict[str, Any]]:
    """Read a tagger and its VGGish, with parameters ``{"tagger": ..., "vggish": ...}``.

    Raises BundleError as `load` does, and if JAX or VGGish's weights are missing or the card does
    not name the classes.
    """
    try:
        from streamdet.model import vggish
    except ImportError as error:
        raise BundleError(f"{folder}: a tagger needs JAX: pip install jax flax") from error

    model, params, card = load(folder)
    path = folder / VGGISH
    if not path.is_file():
        raise BundleError(
            f"{path}: no such file. Add the published VGGish weights with `python -m train vggish` "
            "(docs/audioset.md)"
        )
    front = bundle_files.read_weights(path, card.get("vggish_sha256"))
    bundle_files.check_tensors(front, vggish.param_shapes(), path)
    try:
        names = tuple(str(name) for name in card["classes"])
        gunshots = tuple(int(c) for c in card["gunshots"])
        window = int(card.get("window", ServedTagger.window))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / bundle_files.CARD}: invalid card: no {error}") from error
    if len(names) != model.classes or not gunshots or not set(gunshots) <= set(range(len(names))):
        raise BundleError(f"{folder / bundle_files.CARD}: the classes do not fit the network")
    served = ServedTagger(model, gunshots, ("gunshot", *names), window)
    return served, {"tagger": params, "vggish": bundle_files.unflatten(front)}, card


def add_vggish(folder: Path, to: Path, front: Params) -> None:
    """Write the tagger of ``folder`` to ``to`` together with the weights ``front`` of VGGish."""
    _, params, card = load(folder)
    raw, digest = bundle_files.pack_weights(front)
    about = {k: v for k, v in card.items() if k != "vggish_sha256"}
    bundle_files.write_bundle(
        to, {**about, "vggish_sha256": digest}, bundle_files.pack_weights(params)[0]
    )
    (to / VGGISH).write_bytes(raw)
