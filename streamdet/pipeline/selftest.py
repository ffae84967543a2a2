"""The self-test: a synthetic muzzle blast through the pipeline, in memory or over the air."""

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

ONSET_S = 1.5
_LENGTH_S = 3.0
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class SelfTestResult:
    """The first detection, and the seconds from the onset of the blast to its report."""

    detection: Detection
    latency_s: float


def synthesise_scene(rate: int, seed: int = 3) -> np.ndarray:
    """3 s of faint noise with one blast at 1.5 s: ``(n,) float32`` at ``rate`` Hz."""
    rng = np.random.default_rng(seed)
    scene = rng.normal(0.0, 2e-4, round(_LENGTH_S * RATE)).astype(np.float32)
    blast = muzzle_blast(rng)
    at = round(ONSET_S * RATE)
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
    first_s: float | None = None
    size = rate // 50
    out = np.zeros((size, 1), np.float32)
    for at in range(0, len(scene), size):
        ring.write(scene[at : at + size])
        start, count = ring.read_into(out, 1.0)
        for detection in pipeline.feed(Block(start, out[:count])):
            first_s = (start + count) / rate - ONSET_S if first_s is None else first_s
            if scorer is None or detection.verified:
                return SelfTestResult(detection, first_s)
    latency_s = _LENGTH_S - ONSET_S if first_s is None else first_s
    detected = (d for d in pipeline.finish() if scorer is None or d.verified)
    return next((SelfTestResult(d, latency_s) for d in detected), None)


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
    latency_s: float | None = None
    size = round(engine.block * source.rate / engine.grid.rate)
    out = np.zeros((size, source.channels), np.float32)
    try:
        sounddevice.play(synthesise_scene(48_000), 48_000)
    except sounddevice.PortAudioError as error:
        raise SourceError("unavailable", f"default output: can't play: {error}") from error
    began = time.monotonic()
    while time.monotonic() - began < _TIMEOUT_S and not ring.ended:
        start, count = ring.read_into(out, 0.5)
        for detection in pipeline.feed(Block(start, out[:count])):
            if latency_s is None:
                latency_s = time.monotonic() - began - ONSET_S
            if scorer is None or detection.verified:
                return SelfTestResult(detection, latency_s)
    return None
