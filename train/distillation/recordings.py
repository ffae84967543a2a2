"""What the taggers and the heads on them answer to whole recordings.

A recording is cut into windows of the length of a training scene that overlap, and the middle of
each window counts. So a head sees features like those that it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.progress import track

from streamdet.constants import RATE
from streamdet.model.config import Params
from train.data.labels import GUNSHOT
from train.data.mixtures import Mixture
from train.distillation.config import TICK_S, TeacherHeadConfig
from train.distillation.head_network import GROUPS, FeatureBatch, FeatureScale, apply_head
from train.evaluation import metrics
from train.teachers.features import TICK, Teachers, gunshot_columns, run_teachers

WINDOW_TICKS, MARGIN_TICKS = 75, 8
"""A window is 6 s; its first and last 0.64 s do not count."""
CORE_TICKS = WINDOW_TICKS - 2 * MARGIN_TICKS
ROWS = 16
INDEX = "index.json"


class AnsweredRecording(NamedTuple):
    """A recording, its true events in seconds, and the taggers' features of its windows.

    ``taggers`` (windows, 19) is the highest probability of a gunshot class of each tagger, float16,
    by name.
    """

    name: str
    seconds: float
    truth: tuple[tuple[float, float], ...]
    features: FeatureBatch
    taggers: dict[str, np.ndarray]


def answer_recordings(
    teachers: Teachers, recordings: Iterable[Mixture], count: int
) -> list[AnsweredRecording]:
    """Run both taggers over ``count`` recordings."""
    console = Console(stderr=True)
    progress = track(
        recordings, "taggers", total=count, console=console, disable=not console.is_terminal
    )
    return [_answer(teachers, recording) for recording in progress]


def _answer(teachers: Teachers, recording: Mixture) -> AnsweredRecording:
    windows = cut_windows(recording.samples)
    parts = [run_teachers(teachers, windows[i : i + ROWS]) for i in range(0, len(windows), ROWS)]
    groups = zip(*(part.features for part in parts), strict=True)
    features = FeatureBatch(*(np.concatenate(g).astype(np.float16) for g in groups))
    columns = {
        "yamnet": gunshot_columns(teachers.yamnet_classes),
        "mn04": gunshot_columns(teachers.mn04_classes),
    }
    taggers = {
        name: np.concatenate([getattr(part, name)[..., chosen].max(axis=-1) for part in parts])
        for name, chosen in columns.items()
    }
    truth = tuple((e.onset_s, e.offset_s) for e in recording.truth)
    return AnsweredRecording(
        recording.name, len(recording.samples) / RATE, truth, features, taggers
    )


def save_answers(folder: Path, recordings: Sequence[AnsweredRecording]) -> None:
    """Write recordings to ``folder``; ``index.json`` is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    for group in GROUPS:
        rows = [getattr(r.features, group) for r in recordings]
        np.save(folder / f"{group}.npy", np.concatenate(rows), allow_pickle=False)
    for tagger in recordings[0].taggers:
        rows = [r.taggers[tagger] for r in recordings]
        np.save(folder / f"{tagger}.npy", np.concatenate(rows), allow_pickle=False)
    index = [
        {"name": r.name, "seconds": r.seconds, "truth": r.truth, "windows": len(r.features.fast)}
        for r in recordings
    ]
    (folder / INDEX).write_text(json.dumps({"taggers": list(recordings[0].taggers), "all": index}))


def load_answers(folder: Path) -> list[AnsweredRecording]:
    """Read what `save_answers` wrote; the arrays are mapped."""
    index = json.loads((folder / INDEX).read_text())
    features = [np.load(folder / f"{group}.npy", mmap_mode="r") for group in GROUPS]
    taggers = {name: np.load(folder / f"{name}.npy") for name in index["taggers"]}
    recordings, first = [], 0
    for row in index["all"]:
        part = slice(first, first + row["windows"])
        first += row["windows"]
        recordings.append(
            AnsweredRecording(
                row["name"],
                row["seconds"],
                tuple(map(tuple, row["truth"])),
                FeatureBatch(*(x[part] for x in features)),
                {name: x[part] for name, x in taggers.items()},
            )
        )
    return recordings


def cut_windows(samples: np.ndarray) -> np.ndarray:
    """Cut ``(n,)`` samples into overlapping windows, (windows, 96000) float32."""
    ticks = -(-len(samples) // TICK)
    windows = -(-ticks // CORE_TICKS)
    lead, length = MARGIN_TICKS * TICK, ((windows - 1) * CORE_TICKS + WINDOW_TICKS) * TICK
    padded = np.zeros(length, np.float32)
    padded[lead : lead + len(samples)] = samples
    starts = np.arange(windows) * CORE_TICKS * TICK
    return np.stack([padded[a : a + WINDOW_TICKS * TICK] for a in starts])


def join_cores(windows: np.ndarray, ticks: int) -> np.ndarray:
    """Join the middles of ``(windows, 75, ...)`` answers to ``(ticks, ...)``."""
    cores = windows[:, MARGIN_TICKS : MARGIN_TICKS + CORE_TICKS]
    return cores.reshape(-1, *cores.shape[2:])[:ticks]


@partial(jax.jit, static_argnums=0)
def _apply(config: TeacherHeadConfig, params: Params, scale: FeatureScale, x: Any) -> jax.Array:
    return apply_head(config, params, scale, x)[..., GUNSHOT]


def score_features(
    config: TeacherHeadConfig, params: Params, scale: FeatureScale, features: FeatureBatch
) -> np.ndarray:
    """Gunshot logits of features, ``(n, ticks)`` float32."""
    count = len(features.fast)
    logits = []
    for i in range(0, count, ROWS):
        part = FeatureBatch(*(x[i : i + ROWS] for x in features))
        short = ROWS - len(part.fast)
        part = FeatureBatch(*(np.pad(x, ((0, short), (0, 0), (0, 0))) for x in part))
        logits.append(np.asarray(_apply(config, params, scale, part))[: ROWS - short])
    return np.concatenate(logits)


def score_recordings(
    config: TeacherHeadConfig,
    params: Params,
    scale: FeatureScale,
    recordings: Sequence[AnsweredRecording],
) -> list[np.ndarray]:
    """Gunshot logits of each recording in ticks of 80 ms, ``(ticks,)`` float32."""
    return [
        join_cores(score_features(config, params, scale, r.features), round(r.seconds / TICK_S))
        for r in recordings
    ]


def measure_miss_rate(
    recordings: Sequence[AnsweredRecording], scores: Sequence[np.ndarray]
) -> dict[str, float]:
    """The metrics of `train.detector.validation.validate`, for scores in ticks of 80 ms."""
    row: dict[str, float] = {}
    kinds = sorted({r.name.split("/")[0] for r in recordings})
    for kind in kinds:
        pairs = [
            (s, r.truth) for r, s in zip(recordings, scores, strict=True) if r.name.startswith(kind)
        ]
        hours = sum(r.seconds for r in recordings if r.name.startswith(kind)) / 3600
        row |= metrics.summarise_kind(kind, pairs, TICK_S, hours)
    rates = [row[f"{kind}_miss_rate"] for kind in kinds]
    return {"miss_rate": round(float(np.mean(rates)), 4), **row}
