"""Collects the data of reports and plots, and writes clips, while files are analysed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
import soxr

from streamdet.model.spectrogram import compute_spectrogram
from streamdet.pipeline import excerpt
from streamdet.pipeline.files import FileEvent
from streamdet.report.overview import FileOverview, ReportedEvent

STEP_S = 0.1
_EXCERPT_HZ = 24_000


class ScoreCurve:
    """The highest gunshot score of each tenth of a second of a file."""

    def __init__(self) -> None:
        self._highest = np.zeros(0, np.float32)
        self._count = 0

    def add_scores(self, start_s: float, frame_s: float, scores: np.ndarray) -> None:
        """Add the ``(t,)`` gunshot scores of frames of ``frame_s`` seconds, from ``start_s`` on."""
        times_s = start_s + frame_s * np.arange(len(scores))
        steps = (times_s / STEP_S + 1e-6).astype(np.int64)
        if not len(steps):
            return
        count = int(steps[-1]) + 1
        if count > len(self._highest):
            self._highest = np.pad(self._highest, (0, max(1_024, count)))
        np.maximum.at(self._highest, steps, scores)
        self._count = max(self._count, count)

    def values(self) -> list[float]:
        """Return the score of every step so far."""
        return self._highest[: self._count].tolist()


class OverviewCollector:
    """Builds the `FileOverview` of one file.

    ``pictures`` adds a spectrogram to each event, and ``excerpts`` its sound as well.
    """

    def __init__(self, name: str, track: str | None, *, excerpts: bool, pictures: bool) -> None:
        self.curve = ScoreCurve()
        self._name, self._track = name, track
        self._excerpts, self._pictures = excerpts, pictures
        self._events: list[ReportedEvent] = []

    def add_event(self, file_event: FileEvent, path: str) -> None:
        """Add an event of the file at ``path`` ("-" is stdin)."""
        event, spectrogram, sound = file_event.event, None, None
        if self._pictures and (cut := excerpt.read_excerpt(event, path, self._track)) is not None:
            samples, rate, onset_s = cut
            spectrogram = compute_spectrogram(samples, rate, onset_s)
            sound = _encode_flac(samples, rate) if self._excerpts else None
        self._events.append(ReportedEvent(event, spectrogram, sound))

    def overview(self, threshold: float, fault: str) -> FileOverview:
        """Return the overview, with ``fault`` as the reason why the file ended early."""
        curve = self.curve.values()
        seconds = len(curve) * STEP_S
        return FileOverview(self._name, seconds, STEP_S, curve, threshold, self._events, fault)


def write_clip(
    folder: Path, file_event: FileEvent, path: str, track: str | None, *, each: bool
) -> None:
    """Write the sound of an event as ``<stem>_HH-MM-SS.mmm.flac``, named by its onset.

    With ``each`` the name also has the channel. Writes nothing if the file cannot be read again.
    Raises OSError.
    """
    event = file_event.event
    cut = excerpt.read_excerpt(event, path, track)
    if cut is None:
        return
    samples, rate, _ = cut
    minutes, rest = divmod(round(1_000 * event.onset_s), 60_000)
    onset = f"{minutes // 60:02d}-{minutes % 60:02d}-{rest // 1_000:02d}.{rest % 1_000:03d}"
    channel = f".ch{event.detection.channel}" if each else ""
    target = folder / f"{Path(path).stem}{channel}_{onset}.flac"
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_bytes(_encode_flac(samples, rate, rate))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _encode_flac(samples: np.ndarray, rate: int, max_rate: int = _EXCERPT_HZ) -> bytes:
    if rate > max_rate:
        samples, rate = soxr.resample(samples, rate, max_rate), max_rate
    file = io.BytesIO()
    soundfile.write(file, samples.clip(-1.0, 1.0 - 2.0**-15), rate, "PCM_16", format="FLAC")
    return file.getvalue()
