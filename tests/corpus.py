"""A corpus in the manifest's format, made here: every category, every split."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamdet.synth import muzzle_blast
from train.data.corpus import prepare_corpus

FIELDS = ("path", "split", "category", "label", "kind", "source", "origin_group", "licence",
          "duration_s", "native_rate", "native_channels")  # fmt: skip


def noise(rng, seconds, level=0.05):
    return (level * rng.standard_normal(round(seconds * 16_000))).astype("f")


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A data folder in the manifest's format: every category, train and val."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    makers = {
        ("gunshot", "gunshot"): lambda: muzzle_blast(rng),
        ("hard_negative", "door_knock"): lambda: noise(rng, 0.3) * np.geomspace(1, 1e-3, 4_800),
        ("hard_negative", "fireworks"): lambda: noise(rng, 0.5) * np.geomspace(1, 1e-2, 8_000),
        ("hard_negative", "drum_hit"): lambda: noise(rng, 0.2),
        ("hard_negative", "thunder"): lambda: noise(rng, 1.0),
        ("hard_negative", "stapler"): lambda: noise(rng, 0.1),
        ("explosion", "explosion"): lambda: noise(rng, 0.6),
        ("ambient", "rain"): lambda: noise(rng, 5.0),
        ("speech", "speech"): lambda: noise(rng, 1.0),
        ("music", "music"): lambda: noise(rng, 4.0),
    }
    (folder / "audio").mkdir()
    with (folder / "manifest.csv").open("w", newline="") as sink:
        rows = csv.writer(sink)
        rows.writerow(FIELDS)
        for split in ("train", "val", "test"):
            for (category, label), make in makers.items():
                for i in range(2):
                    name = f"audio/{split}-{label}-{i}.flac"
                    samples = make().astype("f")
                    soundfile.write(folder / name, samples, 16_000)
                    group = f"{split}-{label}-{i}"
                    rows.writerow([name, split, category, label, "range", "made", group, "CC0",
                                   len(samples) / 16_000, 16_000, 1])  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def cache(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    assert prepare_corpus(data, folder) == 40
    return folder


@pytest.fixture
def small_validation(monkeypatch):
    """Few scenes to validate on, and few thresholds and scenes for operating points."""
    from train.data import ambience
    from train.detector import operating_points, validation

    thresholds = operating_points.list_candidate_thresholds()[::8]
    monkeypatch.setattr(validation, "RARE", 4)
    monkeypatch.setattr(validation, "REELS", 1)
    monkeypatch.setattr(operating_points, "list_candidate_thresholds", lambda: thresholds)
    monkeypatch.setattr(operating_points, "LEVEL_SCENES", 4)
    monkeypatch.setattr(ambience, "QUIET_S", 5.0)
