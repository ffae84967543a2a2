"""VGGish's published weights: from a user's own copy into a tagger's bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamdet.model import bundle_files, tagger_bundle, vggish
from streamdet.model.bundle_files import BundleError
from streamdet.model.config import Params
from train.audioset import checkpoint
from train.errors import TrainError


def load_vggish_params(network: Path, pca: Path) -> Params:
    """The weights of ``vggish_model.ckpt`` and ``vggish_pca_params.npz`` as layers of
    `streamdet.model.vggish`. Raises TrainError if a file can't be read or is not VGGish's."""
    tensors = checkpoint.read_checkpoint(network)
    flat: dict[str, np.ndarray] = {}
    for name, *_ in (*vggish.CONVOLUTIONS, *vggish.DENSE):
        group, _, number = name.partition("_")
        scope = f"vggish/{group}/{name}" if number else f"vggish/{name}"
        for source, target in (("weights", "kernel"), ("biases", "bias")):
            if f"{scope}/{source}" not in tensors:
                raise TrainError(f"{network}: has no {scope}/{source}; is it vggish_model.ckpt?")
            flat[f"{name}/{target}"] = tensors[f"{scope}/{source}"]
    try:
        with np.load(pca, allow_pickle=False) as arrays:
            flat["pca/means"] = arrays["pca_means"].reshape(-1).astype(np.float32)
            flat["pca/vectors"] = arrays["pca_eigen_vectors"].astype(np.float32)
    except (OSError, KeyError, ValueError) as error:
        raise TrainError(
            f"{pca}: not VGGish's PCA: {error}. Give vggish_pca_params.npz."
        ) from error
    try:
        bundle_files.check_tensors(flat, vggish.param_shapes(), network)
    except BundleError as error:
        raise TrainError(str(error)) from error
    return bundle_files.unflatten(flat)


def write_complete_bundle(tagger: Path, network: Path, pca: Path, to: Path) -> None:
    """Write a tagger's bundle with VGGish included to ``to``, so that it can analyse audio."""
    try:
        tagger_bundle.add_vggish(tagger, to, load_vggish_params(network, pca))
    except BundleError as error:
        raise TrainError(str(error)) from error
