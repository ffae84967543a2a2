"""A tagger on disk: ``weights.safetensors`` and ``card.json``, all that scoring clips needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from train.failure import TrainError
from train.tagging import models
from train.tagging.config import TaggerModel
from train.tagging.models import Params

SCHEMA = "streamdet.tagger/1"


class TaggerError(TrainError):
    """The folder is no tagger, or a damaged one; the message is one line."""


def save(
    folder: Path, name: str, model: TaggerModel, params: Params, about: Mapping[str, Any]
) -> None:
    """Write a tagger; ``about`` is whatever else its card should say. Raises TaggerError where
    the folder can't be written."""
    flat = {
        f"{layer}/{tensor}": np.ascontiguousarray(array, np.float32)
        for layer, tensors in params.items()
        for tensor, array in tensors.items()
    }
    raw = safetensors.numpy.save(flat)
    digest = hashlib.sha256(raw).hexdigest()
    card = {"schema": SCHEMA, "name": name, "sha256": digest, "model": asdict(model), **about}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.safetensors").write_bytes(raw)
        (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    except OSError as error:
        raise TaggerError(f"{folder}: can't be written: {error.strerror}") from error


def load(folder: Path) -> tuple[TaggerModel, Params, dict[str, Any]]:
    """The shape, the weights and the card of a tagger; raises TaggerError where a file of it is
    missing, damaged, foreign, or not what the card says."""
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        raw = (folder / "weights.safetensors").read_bytes()
    except OSError as error:
        raise TaggerError(f"{error.filename}: {error.strerror}; is {folder} a tagger?") from error
    except ValueError as error:
        raise TaggerError(f"{folder / 'card.json'}: not JSON: {error}") from error
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        raise TaggerError(f"{folder / 'card.json'}: not a {SCHEMA} card")
    if hashlib.sha256(raw).hexdigest() != card.get("sha256"):
        raise TaggerError(f"{folder}: not the weights of its card (sha256 differs); copy it again")
    try:
        model = TaggerModel(**{**card["model"], "cells": tuple(card["model"]["cells"])})
        flat = safetensors.numpy.load(raw)
    except (KeyError, TypeError, safetensors.SafetensorError) as error:
        raise TaggerError(f"{folder}: not a usable tagger: {error}") from error
    params: Params = {}
    for path, array in flat.items():
        layer, _, tensor = path.partition("/")
        params.setdefault(layer, {})[tensor] = array
    like = jax.eval_shape(lambda: models.init_params(model, jax.random.key(0)))
    if jax.tree.map(np.shape, params) != jax.tree.map(lambda x: x.shape, like):
        raise TaggerError(f"{folder}: its weights are not those of the card's network")
    return model, params, card
