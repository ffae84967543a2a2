"""From a run to a bundle: its weights, operating points from val, and its card."""

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
from train.detector.config import TrainConfig
from train.detector.run import COMMIT
from train.evaluation.scene_metrics import make_frame_grid
from train.evaluation.scored_sets import score_scenes

DEFAULT_POINT = "sensitive"


def own_params(config: TrainConfig, corpus: Corpus, run: Path) -> Params:
    """A run's weights as `loop.chosen_params` has them, without a teacher's heads."""
    params = loop.chosen_params(loop.with_teacher(config, corpus), run)
    own = len(config.model.labels)
    return {**params, "head": {name: x[..., :own] for name, x in params["head"].items()}}


def uncalibrated(config: TrainConfig, corpus: Corpus, run: Path, to: Path) -> Bundle:
    """Write the run's weights as they are, with one point at 0.5, and read them back."""
    params, points = own_params(config, corpus, run), {DEFAULT_POINT: OperatingPoint(0.5, {})}
    return _write(config, params, points, {}, to)


def export(
    config: TrainConfig, trained_with: str, corpus: Corpus, run: Path, val: Path, to: Path
) -> Bundle:
    """Write the bundle, calibrated and with its points, to ``to`` and read it back;
    ``trained_with`` is what its card says of how it was made."""
    raw = uncalibrated(config, corpus, run, to)
    grid = make_frame_grid(raw)
    before = calibration.seconds(grid, score_scenes(raw, val))
    temperature = calibration.fit_temperature(*before)
    params = calibration.cooled(raw.params, temperature)
    heard = score_scenes(_write(config, params, raw.operating_points, {}, to), val)
    after = calibration.seconds(grid, heard)
    about = {
        "licence": "Apache-2.0",
        "trained_with": trained_with,
        "config": asdict(config),
        "seed": config.seed,
        "commit": ", ".join((run / COMMIT).read_text().split()),
        "calibration": {
            "temperature": round(temperature, 4),
            "val_calibration_error": round(calibration.calibration_error(*after), 4),
            "val_calibration_error_before": round(calibration.calibration_error(*before), 4),
        },
        "data": data_sources(corpus),
    }
    return _write(config, params, calibration.choose_points(grid, heard), about, to)


def _write(
    config: TrainConfig,
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


def data_sources(corpus: Corpus) -> list[dict[str, Any]]:
    """Every source and licence that train clips came from, and how many."""
    clips = [c for c in corpus.clips if c.split == "train"]
    counted = Counter((c.source, c.licence) for c in clips)
    rows = [{"source": s, "licence": lic, "clips": n} for (s, lic), n in sorted(counted.items())]
    synthetic = {"source": "synthetic muzzle blasts (streamdet.synth)", "licence": "Apache-2.0"}
    return [*rows, {**synthetic, "clips": 0}]
