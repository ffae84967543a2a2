"""A user's own copy of VGGish's published weights, made the ears of a tagger."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamdet.model import bundle_files, tagger_bundle, vggish
from streamdet.model.bundle_files import BundleError
from streamdet.model.config import Params
from train.audioset import checkpoint
from train.errors import TrainError


def fetch(network: Path, pca: Path) -> Params:
    """The weights of ``vggish_model.ckpt`` and ``vggish_pca_params.npz`` as our layers; raises
    TrainError where a file can't be read or is not VGGish's."""
    tensors = checkpoint.read_checkpoint(network)
    flat: dict[str, np.ndarray] = {}
    for name, *_ in (*vggish.CONVOLUTIONS, *vggish.DENSE):
        group, _, several = name.partition("_")
        scope = f"vggish/{group}/{name}" if several else f"vggish/{name}"
        for theirs, ours in (("weights", "kernel"), ("biases", "bias")):
            if f"{scope}/{theirs}" not in tensors:
                raise TrainError(f"{network}: has no {scope}/{theirs}; is it vggish_model.ckpt?")
            flat[f"{name}/{ours}"] = tensors[f"{scope}/{theirs}"]
    try:
        with np.load(pca, allow_pickle=False) as kept:
            flat["pca/means"] = kept["pca_means"].reshape(-1).astype(np.float32)
            flat["pca/vectors"] = kept["pca_eigen_vectors"].astype(np.float32)
    except (OSError, KeyError, ValueError) as error:
        raise TrainError(f"{pca}: {error}; vggish_pca_params.npz is wanted") from error
    try:
        bundle_files.check_tensors(flat, vggish.param_shapes(), network)
    except BundleError as error:
        raise TrainError(str(error)) from error
    return bundle_files.unflatten(flat)


def complete(tagger: Path, network: Path, pca: Path, to: Path) -> None:
    """Write the tagger's bundle to ``to``, complete with VGGish, so that it hears sound."""
    try:
        tagger_bundle.add_vggish(tagger, to, fetch(network, pca))
    except BundleError as error:
        raise TrainError(str(error)) from error
