"""`listen`: one device, from its ring to stdout and Prometheus, until it is told to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

import numpy as np

from streamdet.audio.device import Anchor, DeviceSource
from streamdet.audio.source import Block, SourceError
from streamdet.detect.decision import DecisionConfig
from streamdet.detect.engine import Engine
from streamdet.detect.event import Detection, Event, ModelName, event_id
from streamdet.service.metrics import Metrics
from streamdet.service.road import Road

_WAIT_S = 0.5


@dataclass(frozen=True)
class ListenConfig:
    """What a daemon is told once: how to decide, what to call its source, when to give up.

    ``stall_s``: a device that gives no sample for so long is dead. ``duration_s``: stop by
    itself after so much audio.
    """

    decision: DecisionConfig
    source: str
    channel: int | None = None
    stall_s: float = 5.0
    duration_s: float | None = None


@dataclass
class Summary:
    """What a run has to tell at its end."""

    heard_s: float = 0.0
    dropped_s: float = 0.0
    events: int = 0
    rounds: int = 0
    failure: SourceError | None = None


@dataclass
class Daemon:
    """Startup, main loop, shutdown. A signal only sets a flag that the loop reads."""

    config: ListenConfig
    engine: Engine
    source: DeviceSource
    metrics: Metrics
    emit: Callable[[Event], None]
    summary: Summary = field(default_factory=Summary)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        bundle, source = self.engine.bundle, self.source
        self.model = ModelName(bundle.name, bundle.version, bundle.sha256)
        self.road = Road(
            self.engine,
            self.config.decision,
            source.rate,
            source.channels,
            self.config.channel,
        )
        block = round(self.engine.block * source.rate / self.engine.grid.rate)
        self._samples = np.zeros((block, source.channels), np.float32)
        self._seen_lost = self._seen_overflows = self._seen_dropped = 0
        self._fresh = 0.0

    def run(self) -> Summary:
        """Listen until a signal, the end of the device, or the set duration."""
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.startup()
            self.main_loop()
        except SourceError as error:
            self.summary.failure = error
        finally:
            self.shutdown()
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.summary

    def startup(self) -> None:
        """Compile first, then open the device, so that no audio waits for the compiler."""
        self.engine.warm_up()
        self.source.start()
        self._fresh = time.monotonic()

    def main_loop(self) -> None:
        """Read a block, analyse it, tell what was found."""
        while not self._stop.is_set() and not self.source.ring.ended:
            start, count = self.source.ring.read_into(self._samples, _WAIT_S)
            now = time.monotonic()
            if count:
                self._fresh = now
                self._analyse(Block(start, self._samples[:count]))
            elif now - self._fresh > self.config.stall_s:
                raise SourceError(
                    "lost",
                    f"{self.source.device.name}: no sample for {self.config.stall_s:g} s; "
                    "is it still plugged in?",
                )
            self._count_losses()
            limit = self.config.duration_s
            if limit is not None and self.summary.heard_s >= limit:
                break
        if self.source.failure is not None:
            raise self.source.failure

    def shutdown(self) -> None:
        """Close the device, then whatever event is still open."""
        self.source.close()
        self.metrics.up.labels(self.config.source).set(0)
        self._tell(self.road.finish())

    def stop(self) -> None:
        """End the main loop soon; safe from any thread and from a signal handler."""
        self._stop.set()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()

    def _analyse(self, block: Block) -> None:
        name, m = self.config.source, self.metrics
        with m.inference.labels(name).time():
            found = self.road.feed(block)
        self._tell(found)
        seconds = len(block.samples) / self.source.rate
        self.summary.heard_s += seconds
        m.audio.labels(name).inc(seconds)
        m.up.labels(name).set(1)
        m.rms.labels(name).set(self.road.heard_level)
        m.backlog.labels(name).set(self.source.ring.unread / self.source.rate)
        end = (block.start + len(block.samples)) / self.source.rate
        if self.source.anchor is not None:
            m.last_audio.labels(name).set(self.source.anchor.unix_s + end)

    def _count_losses(self) -> None:
        name, m, source = self.config.source, self.metrics, self.source
        overflows, lost, dropped = source.overflows, source.lost, source.ring.dropped
        m.overflows.labels(name).inc(overflows - self._seen_overflows)
        for reason, count in (
            ("overflow", lost - self._seen_lost),
            ("backlog", dropped - self._seen_dropped),
        ):
            m.dropped.labels(name, reason).inc(count / source.rate)
            self.summary.dropped_s += count / source.rate
        self._seen_overflows, self._seen_lost, self._seen_dropped = overflows, lost, dropped

    def _tell(self, found: list[Detection]) -> None:
        for detection in found:
            event = self._event(detection, self.source.anchor)
            self.emit(event)
            if detection.phase == "onset":
                self.summary.events += 1
                self.metrics.opened(event, self._latency(detection))
            else:
                self.summary.rounds += detection.rounds
                self.metrics.closed(event)

    def _event(self, d: Detection, anchor: Anchor | None) -> Event:
        rate = self.engine.grid.rate
        unix_s = None if anchor is None else anchor.unix_s + d.onset / rate
        identity = event_id(self.config.source, self.model, d.onset, unix_s, rate)
        return Event(d, identity, self.config.source, rate, unix_s, self.model)

    def _latency(self, d: Detection) -> float:
        anchor = self.source.anchor
        if anchor is None:
            return 0.0
        return time.monotonic() - anchor.monotonic_s - d.onset / self.engine.grid.rate
