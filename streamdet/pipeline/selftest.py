"""The self-test: synthetic muzzle blasts through the pipeline, in memory or over the air."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import soxr

from streamdet.audio import device as audio
from streamdet.audio.microphone import MicrophoneSource
from streamdet.audio.ring import RingBuffer
from streamdet.audio.source import Block, SourceError
from streamdet.constants import RATE
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import Engine
from streamdet.detection.event import Detection
from streamdet.detection.window_scorer import WindowScorer
from streamdet.pipeline.source_pipeline import SourcePipeline
from streamdet.synth import muzzle_blast

_BURSTS_S = (1.5, 4.0, 6.5)
_ROUNDS, _ROUND_GAP_S = 3, 0.25
_LENGTH_S = 9.0
_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class SelfTestResult:
    """The first detection that counts, and the seconds from the onset of its burst to the first
    report of it. ``verified_s``: those until the verifier had confirmed it, None without one."""

    detection: Detection
    latency_s: float
    verified_s: float | None


class _ResultFinder:
    """Looks for the first event among detections. ``verify``: it must be verified."""

    def __init__(self, *, verify: bool) -> None:
        self._verify, self._reported = verify, dict[int, tuple[float, float]]()

    def find(self, detections: list[Detection], elapsed_s: float) -> SelfTestResult | None:
        """The result, once these detections, reported ``elapsed_s`` after the beginning of the
        scene, have one."""
        burst_s = max((at for at in _BURSTS_S if at <= elapsed_s), default=0.0)
        for d in detections:
            onset_s, first_s = self._reported.setdefault(d.first_onset, (burst_s, elapsed_s))
            latency_s = first_s - onset_s
            if not self._verify:
                return SelfTestResult(d, latency_s, None)
            if d.verified:
                return SelfTestResult(d, latency_s, elapsed_s - onset_s)
        return None


def synthesise_scene(rate: int, seed: int = 6) -> np.ndarray:
    """9 s of faint noise with three bursts of three rounds: ``(n,) float32`` at ``rate`` Hz.

    Bursts of different weapons, because even a strict threshold must find one of them.
    """
    rng = np.random.default_rng(seed)
    scene = rng.normal(0.0, 2e-4, round(_LENGTH_S * RATE)).astype(np.float32)
    for burst_s in _BURSTS_S:
        blast = muzzle_blast(rng)
        for i in range(_ROUNDS):
            at = round((burst_s + i * _ROUND_GAP_S) * RATE)
            scene[at : at + len(blast)] += 0.5 * blast
    return scene if rate == RATE else soxr.resample(scene, RATE, rate).astype(np.float32)


def run_in_memory(
    engine: Engine[Any],
    config: DecisionConfig,
    rate: int = 48_000,
    scorer: WindowScorer | None = None,
) -> SelfTestResult | None:
    """Run the scene through ring, resampler, network and decision, in blocks of 20 ms as a device
    delivers them. Returns None if nothing is detected, or if ``scorer`` refuses it."""
    scene = synthesise_scene(rate)[:, None]
    ring = RingBuffer(rate, 1)
    pipeline = SourcePipeline(engine, config, rate, 1, scorer=scorer)
    finder = _ResultFinder(verify=scorer is not None)
    size = rate // 50
    out = np.zeros((size, 1), np.float32)
    for at in range(0, len(scene), size):
        ring.write(scene[at : at + size])
        start, count = ring.read_into(out, 1.0)
        found = finder.find(pipeline.feed(Block(start, out[:count])), (start + count) / rate)
        if found is not None:
            return found
    return finder.find(pipeline.finish(), _LENGTH_S)


def run_through_device(
    engine: Engine[Any], config: DecisionConfig, name: str, scorer: WindowScorer | None = None
) -> SelfTestResult | None:
    """Play the scene on the default output and record it from the input ``name``.

    Returns None if nothing is detected. Raises SourceError if a device can't be opened.
    """
    sounddevice = audio.import_portaudio()
    engine.warm_up()
    changed = threading.Event()
    source = MicrophoneSource(name, name, 2, 10.0, changed.set)
    source.start()
    try:
        while source.ring is None and not source.done:
            changed.wait(0.1)
        if source.ring is None:
            raise source.failure or SourceError("unavailable", f"{name}: delivers no audio")
        return _wait_for_detection(engine, config, source, source.ring, sounddevice, scorer)
    finally:
        source.close()
        source.join(1.0)


def _wait_for_detection(
    engine: Engine[Any],
    config: DecisionConfig,
    source: MicrophoneSource,
    ring: RingBuffer,
    sounddevice: ModuleType,
    scorer: WindowScorer | None,
) -> SelfTestResult | None:
    pipeline = SourcePipeline(engine, config, source.rate, source.channels, scorer=scorer)
    finder = _ResultFinder(verify=scorer is not None)
    size = round(engine.block * source.rate / engine.grid.rate)
    out = np.zeros((size, source.channels), np.float32)
    try:
        sounddevice.play(synthesise_scene(48_000), 48_000)
    except sounddevice.PortAudioError as error:
        raise SourceError("unavailable", f"default output: can't play: {error}") from error
    began = time.monotonic()
    while time.monotonic() - began < _TIMEOUT_S and not ring.ended:
        start, count = ring.read_into(out, 0.5)
        detections = pipeline.feed(Block(start, out[:count]))
        if (found := finder.find(detections, time.monotonic() - began)) is not None:
            return found
    return None
