"""A tagger on disk, and as a detector: what a bundle of the schema ``streamdet.tagger/1`` is.

Its card has the network (`TaggerModel`) and, to be served, the names of its classes and which
of them are gunshots. It hears sound through VGGish, whose weights lie beside it in
``vggish.safetensors`` once `python -m train vggish` put them there.
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
    """A tagger that hears ``window`` embeddings at a time, the last ones of the sound so far: a
    frame of scores each 0.96 s. ``labels`` are ``gunshot``, the highest of its gunshot classes,
    and all its classes."""

    tagger: TaggerModelConfig
    gunshots: tuple[int, ...]
    labels: tuple[str, ...]
    window: int = 10
    stride: int = VggishConfig().patch


def save(
    folder: Path, name: str, model: TaggerModelConfig, params: Params, about: Mapping[str, Any]
) -> None:
    """Write a tagger; ``about`` is whatever else its card should say. Raises BundleError where
    the folder can't be written."""
    raw, digest = bundle_files.pack_weights(params)
    card = {"schema": SCHEMA, "name": name, "sha256": digest, "model": asdict(model), **about}
    bundle_files.write_bundle(folder, card, raw)


def load(folder: Path) -> tuple[TaggerModelConfig, Params, dict[str, Any]]:
    """The shape, the weights and the card of a tagger; raises BundleError where a file of it is
    missing, damaged, foreign, or not what the card says."""
    import jax  # a detector is loaded without it

    from streamdet.model import tagger

    card = bundle_files.read_card(folder, (SCHEMA,))
    path = folder / bundle_files.WEIGHTS
    flat = bundle_files.read_weights(path, card.get("sha256"))
    try:
        model = TaggerModelConfig(**{**card["model"], "cells": tuple(card["model"]["cells"])})
        like = jax.eval_shape(lambda: tagger.init_params(model, jax.random.key(0)))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / bundle_files.CARD}: not a usable card: {error}") from error
    wanted = {f"{layer}/{t}": x.shape for layer, ts in like.items() for t, x in ts.items()}
    bundle_files.check_tensors(flat, wanted, path)
    return model, bundle_files.unflatten(flat), card


def load_served(folder: Path) -> tuple[ServedTagger, Params, dict[str, Any]]:
    """A tagger with its VGGish, ``{"tagger": ..., "vggish": ...}``; raises BundleError also where
    that is missing or the card names no classes."""
    from streamdet.model import vggish

    model, params, card = load(folder)
    path = folder / VGGISH
    if not path.is_file():
        raise BundleError(
            f"{path}: no such file: this tagger hears sound through VGGish; give it your copy of "
            "the published weights with `python -m train vggish` (docs/audioset.md)"
        )
    front = bundle_files.read_weights(path, card.get("vggish_sha256"))
    bundle_files.check_tensors(front, vggish.param_shapes(), path)
    try:
        names = tuple(str(name) for name in card["classes"])
        gunshots = tuple(int(c) for c in card["gunshots"])
        window = int(card.get("window", ServedTagger.window))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / bundle_files.CARD}: not a usable card: no {error}") from error
    if len(names) != model.classes or not gunshots or not set(gunshots) <= set(range(len(names))):
        raise BundleError(f"{folder / bundle_files.CARD}: its classes are not those of its network")
    served = ServedTagger(model, gunshots, ("gunshot", *names), window)
    return served, {"tagger": params, "vggish": bundle_files.unflatten(front)}, card


def add_vggish(folder: Path, to: Path, front: Params) -> None:
    """Write the tagger of ``folder`` to ``to``, complete with these weights of VGGish."""
    _, params, card = load(folder)
    raw, digest = bundle_files.pack_weights(front)
    about = {k: v for k, v in card.items() if k != "vggish_sha256"}
    bundle_files.write_bundle(
        to, {**about, "vggish_sha256": digest}, bundle_files.pack_weights(params)[0]
    )
    (to / VGGISH).write_bytes(raw)
