"""Export of a detector of two stages: a first stage and a verifier in one calibrated bundle."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle, Verifier
from streamdet.model.config import FrontendConfig, ModelConfig, Params
from train.detector import calibration
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
    val: Path,
    to: Path,
) -> Bundle:
    """Write a bundle of a calibrated first stage and the verifier of a run, and load it.

    ``trained_with`` is the command that the card names. The bundle has the name and version of
    ``first``. Candidate threshold, calibration and operating points are chosen on the scenes in
    ``val``. Raises TrainError if the two stages have different frames.
    """
    frame = (first.frontend, first.model.stride)
    if frame != (verifier.frontend, verifier.model.stride):
        raise TrainError(f"{verifier.name}: its frames are not those of {first.name}")
    grid = make_frame_grid(first)
    threshold = calibration.choose_candidate_threshold(grid, score_scenes(first, val))
    raw = load_exported_params(verifier, run)
    draft = _write(first, verifier, raw, threshold, to, {})
    kinds = group_by_kind(score_scenes(draft, val)).values()
    peaks = [reliability.collect_second_peaks(grid, files, verified=True) for files in kinds]
    temperature, bias = calibration.fit_scale_and_bias([p for p in peaks if len(p[0])])
    params = calibration.apply_temperature(raw, temperature, bias)
    calibrated = _write(first, verifier, params, threshold, to, {})
    files = score_scenes(calibrated, val)
    error = reliability.compute_calibration_error
    points = calibration.choose_operating_points(grid, files, first.operating_points)
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
    final = replace(calibrated, operating_points=points)
    return _write(final, verifier, params, threshold, to, about)


def load_exported_params(config: VerifierTrainingConfig, run: Path) -> Params:
    """The averaged weights of a run's newest checkpoint, without the teachers' outputs."""
    params = load_verifier_params(config, run)
    labels = len(config.model.labels)
    return {**params, "head": {name: x[..., :labels] for name, x in params["head"].items()}}


def _write(
    first: Bundle,
    config: VerifierTrainingConfig,
    params: Params,
    threshold: float,
    to: Path,
    about: dict,
) -> Bundle:
    known = ("schema", "name", "version", "sha256", "frontend", "model", "default_point",
             "operating_points", "verifier")  # fmt: skip
    assert isinstance(first.frontend, FrontendConfig)
    assert isinstance(first.model, ModelConfig)
    part = to.with_name(f"{to.name}.part")
    bundles.save(
        part,
        name=first.name,
        version=first.version,
        frontend=first.frontend,
        model=first.model,
        params=first.params,
        operating_points=first.operating_points,
        default_point=first.default_point,
        about={k: v for k, v in first.card.items() if k not in known} | about,
        verifier=Verifier(config.model, params, threshold),
    )
    to.mkdir(parents=True, exist_ok=True)
    for path in part.iterdir():
        path.replace(to / path.name)
    shutil.rmtree(part)
    return bundles.load(to)
