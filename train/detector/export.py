"""Export of a detector: from a training run to a bundle with weights, points and a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle, OperatingPoint
from streamdet.model.config import FrontendConfig, ModelConfig, Params
from train.data.corpus import Corpus
from train.detector import calibration, loop
from train.detector.config import DetectorConfig
from train.detector.operating_points import DEFAULT, measure_operating_points
from train.detector.run import COMMITS
from train.errors import TrainError
from train.evaluation import reliability
from train.evaluation.scene_metrics import make_frame_grid
from train.evaluation.scored_sets import score_scenes
from train.onnx.bundle_graphs import write_graphs


def load_detector_params(config: DetectorConfig, run: Path) -> Params:
    """The weights of a run (`loop.load_mean_params`), without the teacher's heads."""
    params = loop.load_mean_params(config, run)
    labels = len(config.model.labels)
    return {**params, "head": {name: x[..., :labels] for name, x in params["head"].items()}}


def export_uncalibrated(config: DetectorConfig, run: Path, to: Path) -> Bundle:
    """Write the weights of a run as they are, with one operating point at 0.5, and load the
    bundle."""
    params = load_detector_params(config, run)
    return _write_bundle(config, params, {DEFAULT: OperatingPoint(0.5, {})}, {}, to)


def export_detector(
    config: DetectorConfig, trained_with: str, corpus: Corpus, run: Path, val: Path, to: Path
) -> Bundle:
    """Write the calibrated bundle of a run and load it.

    ``trained_with`` is the command that the card names. Calibration and the default threshold
    follow from the scenes in ``val``, the other operating points from the ambience of the corpus
    (`train.detector.operating_points`).
    """
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
    measured = measure_operating_points(calibrated, corpus, files)
    return rewrite_bundle(calibrated, measured.points, about | measured.about, to)


def rewrite_bundle(
    bundle: Bundle, points: Mapping[str, OperatingPoint], about: Mapping[str, Any], to: Path
) -> Bundle:
    """Write a detector with other operating points, of which ``default`` is the default one, and
    further keys of its card, and load it. ``to`` may be the bundle's own folder."""
    if not isinstance(bundle.frontend, FrontendConfig) or not isinstance(bundle.model, ModelConfig):
        raise TrainError(f"{bundle.name}: not a detector")
    own = ("schema", "name", "version", "sha256", "frontend", "model", "default_point",
           "operating_points", "verifier")  # fmt: skip
    part = to.with_name(f"{to.name}.part")
    bundles.save(
        part,
        name=bundle.name,
        version=bundle.version,
        frontend=bundle.frontend,
        model=bundle.model,
        params=bundle.params,
        operating_points=points,
        default_point=DEFAULT,
        about={k: v for k, v in bundle.card.items() if k not in own} | dict(about),
        verifier=bundle.verifier,
    )
    to.mkdir(parents=True, exist_ok=True)
    for path in part.iterdir():
        path.replace(to / path.name)
    part.rmdir()
    return write_graphs(to)


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
        default_point=DEFAULT,
        about=about,
    )
    return write_graphs(to)
