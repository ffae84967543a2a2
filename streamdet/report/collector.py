"""The reports, plots and clips of files, gathered while they are heard."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
import soxr

from streamdet.model import spectrogram
from streamdet.pipeline import excerpt
from streamdet.pipeline.files import FileEvent
from streamdet.report.overview import FileOverview, ReportedEvent

STEP_S = 0.1
_EXCERPT_HZ = 24_000


class ScoreCurve:
    """The highest score of each tenth of a second, of a file of any length."""

    def __init__(self) -> None:
        self._highest = np.zeros(0, np.float32)
        self._count = 0

    def add_scores(self, start_s: float, frame_s: float, scores: np.ndarray) -> None:
        """``(t,)`` gunshot scores of frames from ``start_s`` on."""
        times_s = start_s + frame_s * np.arange(len(scores))
        steps = (times_s / STEP_S + 1e-6).astype(np.int64)
        if not len(steps):
            return
        most = int(steps[-1]) + 1
        if most > len(self._highest):
            self._highest = np.pad(self._highest, (0, max(1_024, most)))
        np.maximum.at(self._highest, steps, scores)
        self._count = max(self._count, most)

    def values(self) -> list[float]:
        """All so far."""
        return self._highest[: self._count].tolist()


class OverviewCollector:
    """One file's `Overview`; with ``excerpts`` each event has its sound in it."""

    def __init__(self, name: str, track: str | None, *, excerpts: bool, pictures: bool) -> None:
        self.curve = ScoreCurve()
        self._name, self._track = name, track
        self._excerpts, self._pictures = excerpts, pictures
        self._moments: list[ReportedEvent] = []

    def add_event(self, heard: FileEvent, path: str) -> None:
        """An event of the file, "-" for stdin."""
        shown = sound = None
        if (
            self._pictures
            and (cut := excerpt.read_excerpt(heard.event, path, self._track)) is not None
        ):
            samples, rate, onset_s = cut
            shown = spectrogram.compute_spectrogram(samples, rate, onset_s)
            sound = _flac(samples, rate) if self._excerpts else None
        self._moments.append(ReportedEvent(heard.event, shown, sound))

    def overview(self, threshold: float, fault: str) -> FileOverview:
        """What it comes to."""
        values = self.curve.values()
        seconds = len(values) * STEP_S
        return FileOverview(self._name, seconds, STEP_S, values, threshold, self._moments, fault)


def write_clip(folder: Path, heard: FileEvent, path: str, track: str | None, *, each: bool) -> None:
    """The sound of an event as ``<stem>_HH-MM-SS.mmm.flac`` by its onset; with ``each`` its channel
    is in the name too. Raises OSError; a file that can't be read once more has none."""
    cut = excerpt.read_excerpt(heard.event, path, track)
    if cut is None:
        return
    samples, rate, _ = cut
    whole = round(1_000 * heard.event.onset_s)
    minutes, rest = divmod(whole, 60_000)
    at = f"{minutes // 60:02d}-{minutes % 60:02d}-{rest // 1_000:02d}.{rest % 1_000:03d}"
    of = f".ch{heard.event.detection.channel}" if each else ""
    to = folder / f"{Path(path).stem}{of}_{at}.flac"
    part = to.with_name(f".{to.name}.part")
    try:
        part.write_bytes(_flac(samples, rate, rate))
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def _flac(samples: np.ndarray, rate: int, most_hz: int = _EXCERPT_HZ) -> bytes:
    if rate > most_hz:
        samples, rate = soxr.resample(samples, rate, most_hz), most_hz
    file = io.BytesIO()
    soundfile.write(file, samples.clip(-1.0, 1.0 - 2.0**-15), rate, "PCM_16", format="FLAC")
    return file.getvalue()
