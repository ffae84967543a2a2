"""The self-test's sound, and the two roads it is played through."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import ModuleType

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
from streamdet.pipeline.source_pipeline import SourcePipeline
from streamdet.synth import muzzle_blast

ONSET_S = 1.5
_LENGTH_S = 3.0
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class SelfTestResult:
    """The first detection, and how long after the blast began it was told, in seconds."""

    detection: Detection
    latency_s: float


def synthesise_scene(rate: int, seed: int = 3) -> np.ndarray:
    """3 s of faint noise with one blast at 1.5 s, ``(n,) float32`` at ``rate`` Hz."""
    rng = np.random.default_rng(seed)
    scene = rng.normal(0.0, 2e-4, round(_LENGTH_S * RATE)).astype(np.float32)
    blast = muzzle_blast(rng)
    at = round(ONSET_S * RATE)
    scene[at : at + len(blast)] += 0.5 * blast
    return scene if rate == RATE else soxr.resample(scene, RATE, rate).astype(np.float32)


def run_in_memory(
    engine: Engine, config: DecisionConfig, rate: int = 48_000
) -> SelfTestResult | None:
    """Through ring, resampler, model and decision, in blocks of 20 ms as a device gives."""
    scene = synthesise_scene(rate)[:, None]
    ring = RingBuffer(rate, 1)
    road = SourcePipeline(engine, config, rate, 1)
    size = rate // 50
    out = np.zeros((size, 1), np.float32)
    for at in range(0, len(scene), size):
        ring.write(scene[at : at + size])
        start, count = ring.read_into(out, 1.0)
        for detection in road.feed(Block(start, out[:count])):
            return SelfTestResult(detection, (start + count) / rate - ONSET_S)
    return next((SelfTestResult(d, _LENGTH_S - ONSET_S) for d in road.finish()), None)


def run_through_device(engine: Engine, config: DecisionConfig, name: str) -> SelfTestResult | None:
    """Out of the default output and in by the named input; ``late_s`` counts from the
    moment that playing began. Raises SourceError where a device can't be opened."""
    sd = audio.import_portaudio()
    engine.warm_up()
    news = threading.Event()
    feed = MicrophoneSource(name, name, 2, 10.0, news.set)
    feed.start()
    try:
        while feed.ring is None and not feed.done:
            news.wait(0.1)
        if feed.ring is None:
            raise feed.failure or SourceError("unavailable", f"{name}: gives nothing")
        return _wait_for_detection(engine, config, feed, feed.ring, sd)
    finally:
        feed.close()
        feed.join(1.0)


def _wait_for_detection(
    engine: Engine, config: DecisionConfig, feed: MicrophoneSource, ring: RingBuffer, sd: ModuleType
) -> SelfTestResult | None:
    road = SourcePipeline(engine, config, feed.rate, feed.channels)
    size = round(engine.block * feed.rate / engine.grid.rate)
    out = np.zeros((size, feed.channels), np.float32)
    try:
        sd.play(synthesise_scene(48_000), 48_000)
    except sd.PortAudioError as error:
        raise SourceError("unavailable", f"the default output: can't be played to: {error}") from (
            error
        )
    played = time.monotonic()
    while time.monotonic() - played < _PATIENCE_S and not ring.ended:
        start, count = ring.read_into(out, 0.5)
        for detection in road.feed(Block(start, out[:count])):
            return SelfTestResult(detection, time.monotonic() - played - ONSET_S)
    return None
