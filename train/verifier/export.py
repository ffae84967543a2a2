"""Export of a detector of two stages: a first stage and a verifier in one calibrated bundle."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from streamdet.model.bundle import Bundle, Verifier
from streamdet.model.config import Params
from train.data.corpus import Corpus
from train.detector import calibration
from train.detector.export import rewrite_bundle
from train.detector.operating_points import measure_operating_points
from train.detector.run import COMMITS
from train.errors import TrainError
from train.evaluation import reliability
from train.evaluation.scene_metrics import make_frame_grid
from train.evaluation.scored_sets import group_by_kind, score_scenes
from train.verifier.config import VerifierTrainingConfig
from train.verifier.loop import load_verifier_params


def attach_verifier(
    first: Bundle,
    verifier: VerifierTrainingConfig,
    trained_with: str,
    run: Path,
    corpus: Corpus,
    val: Path,
    to: Path,
) -> Bundle:
    """Write a bundle of a calibrated first stage and the verifier of a run, and load it.

    ``trained_with`` is the command that the card names. The bundle has the name and version of
    ``first``, whose own verifier is replaced if it has one. Candidate threshold and calibration
    follow from the scenes in ``val``, operating points also from the ambience of the corpus. Raises
    TrainError if the two stages have different frames.
    """
    frame = (first.frontend, first.model.stride)
    if frame != (verifier.frontend, verifier.model.stride):
        raise TrainError(f"{verifier.name}: its frames are not those of {first.name}")
    grid = make_frame_grid(first)
    files = score_scenes(first, val, verify=False)
    threshold = calibration.choose_candidate_threshold(grid, files)
    raw = load_exported_params(verifier, run)
    draft = replace(first, verifier=Verifier(verifier.model, raw, threshold))
    kinds = group_by_kind(score_scenes(draft, val)).values()
    peaks = [reliability.collect_second_peaks(grid, files, verified=True) for files in kinds]
    temperature, bias = calibration.fit_scale_and_bias([p for p in peaks if len(p[0])])
    params = calibration.apply_temperature(raw, temperature, bias)
    calibrated = replace(first, verifier=Verifier(verifier.model, params, threshold))
    files = score_scenes(calibrated, val)
    error = reliability.compute_calibration_error
    measured = measure_operating_points(calibrated, corpus, files)
    about = {
        "verifier_trained_with": trained_with,
        "verifier_config": asdict(verifier),
        "verifier_seed": verifier.seed,
        "verifier_commit": ", ".join((run / COMMITS).read_text().split()),
        "verifier_calibration": {
            "temperature": round(temperature, 4),
            "bias": round(bias, 4),
            "val_calibration_error": {
                kind: round(error(*reliability.collect_second_peaks(grid, of_kind)), 4)
                for kind, of_kind in group_by_kind(files).items()
            },
        },
    }
    return rewrite_bundle(calibrated, measured.points, about | measured.about, to)


def load_exported_params(config: VerifierTrainingConfig, run: Path) -> Params:
    """The averaged weights of a run's newest checkpoint, without the teachers' outputs."""
    params = load_verifier_params(config, run)
    labels = len(config.model.labels)
    return {**params, "head": {name: x[..., :labels] for name, x in params["head"].items()}}
