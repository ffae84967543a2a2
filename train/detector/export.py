"""Export of a detector: from a training run to a bundle with weights, points and a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle, OperatingPoint
from streamdet.model.config import Params
from train.data.corpus import Corpus
from train.detector import calibration, loop
from train.detector.config import DetectorConfig
from train.detector.run import COMMITS
from train.evaluation import reliability
from train.evaluation.scene_metrics import make_frame_grid
from train.evaluation.scored_sets import score_scenes

DEFAULT_POINT = "sensitive"


def load_detector_params(config: DetectorConfig, run: Path) -> Params:
    """The weights of a run (`loop.load_mean_params`), without the teacher's heads."""
    params = loop.load_mean_params(config, run)
    labels = len(config.model.labels)
    return {**params, "head": {name: x[..., :labels] for name, x in params["head"].items()}}


def export_uncalibrated(config: DetectorConfig, run: Path, to: Path) -> Bundle:
    """Write the weights of a run as they are, with one operating point at 0.5, and load the
    bundle."""
    params = load_detector_params(config, run)
    return _write_bundle(config, params, {DEFAULT_POINT: OperatingPoint(0.5, {})}, {}, to)


def export_detector(
    config: DetectorConfig, trained_with: str, corpus: Corpus, run: Path, val: Path, to: Path
) -> Bundle:
    """Write the calibrated bundle of a run, with operating points chosen on the scenes in
    ``val``, and load it. ``trained_with`` is the command that the card names."""
    raw = export_uncalibrated(config, run, to)
    grid = make_frame_grid(raw)
    before = reliability.collect_second_peaks(grid, score_scenes(raw, val))
    temperature = calibration.fit_temperature(*before)
    params = calibration.apply_temperature(raw.params, temperature)
    calibrated = _write_bundle(config, params, raw.operating_points, {}, to)
    files = score_scenes(calibrated, val)
    after = reliability.collect_second_peaks(grid, files)
    error = reliability.compute_calibration_error
    about = {
        "licence": "Apache-2.0",
        "trained_with": trained_with,
        "config": asdict(config),
        "seed": config.seed,
        "commit": ", ".join((run / COMMITS).read_text().split()),
        "calibration": {
            "temperature": round(temperature, 4),
            "val_calibration_error": round(error(*after), 4),
            "val_calibration_error_before": round(error(*before), 4),
        },
        "data": list_data_sources(corpus),
    }
    points = calibration.choose_operating_points(grid, files)
    return _write_bundle(config, params, points, about, to)


def list_data_sources(corpus: Corpus) -> list[dict[str, Any]]:
    """The sources and licences of the train clips, with the number of clips of each."""
    clips = [c for c in corpus.clips if c.split == "train"]
    counts = Counter((c.source, c.licence) for c in clips)
    rows = [{"source": s, "licence": lic, "clips": n} for (s, lic), n in sorted(counts.items())]
    synthetic = {"source": "synthetic muzzle blasts (streamdet.synth)", "licence": "Apache-2.0"}
    return [*rows, {**synthetic, "clips": 0}]


def _write_bundle(
    config: DetectorConfig,
    params: Params,
    points: Mapping[str, OperatingPoint],
    about: dict[str, Any],
    to: Path,
) -> Bundle:
    bundles.save(
        to,
        name=config.name,
        version=config.version,
        frontend=config.frontend,
        model=config.model,
        params=params,
        operating_points=points,
        default_point=DEFAULT_POINT,
        about=about,
    )
    return bundles.load(to)
