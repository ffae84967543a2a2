"""Audio devices through PortAudio: found by name, read by a thread of their own.

`sounddevice` is imported here alone, and only when a device is asked for: files need no
PortAudio.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from streamdet.audio.ring import Ring
from streamdet.audio.source import SourceError

BLOCK_S = 0.02


@dataclass(frozen=True)
class Device:
    """An input that can be listened to, as PortAudio names it; ``rate`` is its own, in Hz."""

    name: str
    host_api: str
    channels: int
    rate: int
    default: bool
    index: int


@dataclass(frozen=True)
class Anchor:
    """When the first sample was in the air: UTC seconds since 1970, and the monotonic
    clock's seconds at the same moment."""

    unix_s: float
    monotonic_s: float


def devices() -> list[Device]:
    """The inputs there are now; raises SourceError where PortAudio is not installed."""
    sd = portaudio()
    apis = sd.query_hostapis()
    found = []
    for index, row in enumerate(sd.query_devices()):
        if row["max_input_channels"] > 0:
            api = apis[row["hostapi"]]
            found.append(
                Device(
                    name=row["name"],
                    host_api=api["name"],
                    channels=int(row["max_input_channels"]),
                    rate=round(row["default_samplerate"]),
                    default=index == sd.default.device[0],
                    index=index,
                )
            )
    return found


def choose(found: list[Device], name: str | None) -> Device:
    """The device of that name, else the only one whose name holds it (letter case aside).

    Without a name, the system's default input. Raises SourceError where there is none, or
    several.
    """
    if not found:
        raise SourceError("unavailable", "no input device; is a microphone plugged in?")
    if name is None:
        return next((d for d in found if d.default), found[0])
    exact = [d for d in found if d.name.casefold() == name.casefold()]
    matches = exact or [d for d in found if name.casefold() in d.name.casefold()]
    if not matches:
        there = ", ".join(repr(d.name) for d in found)
        raise SourceError("unavailable", f"no input device named {name!r}; there are: {there}")
    if len({d.name for d in matches}) > 1:
        there = ", ".join(repr(d.name) for d in matches)
        raise SourceError("bad", f"{name!r} could be any of {there}; say more of the name")
    return matches[0]


class DeviceSource:
    """An open device whose thread fills a ring; `start` opens it, `close` lets go.

    ``ring`` holds the newest ``ring_s`` seconds; ``overflows`` counts PortAudio's own, and
    ``lost`` the samples they cost, which stand as silence in the ring so that time stays
    right. ``failure`` is set, and the ring closed, when the device is gone.
    """

    def __init__(self, device: Device, channels: int, ring_s: float = 10.0) -> None:
        self.device = device
        self.rate, self.channels = device.rate, min(channels, device.channels)
        self.ring = Ring(round(ring_s * self.rate), self.channels)
        self.overflows = self.lost = 0
        self.anchor: Anchor | None = None
        self.failure: SourceError | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="streamdet-device", daemon=True)
        self._stream: Any = None

    def start(self) -> None:
        """Open the device at its own rate and begin; raises SourceError where it can't."""
        sd = portaudio()
        try:
            self._stream = sd.InputStream(
                device=self.device.index,
                samplerate=self.rate,
                channels=self.channels,
                dtype="float32",
                latency="low",
            )
            self._stream.start()
        except sd.PortAudioError as error:
            reason = "busy" if "unavailable" in str(error).lower() else "unavailable"
            raise SourceError(
                reason,
                f"{self.device.name}: can't be opened: {error}; is another program using it?",
            ) from error
        self._thread.start()

    def close(self) -> None:
        """Stop reading and let go of the device; waits at most two seconds for it."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)
        if self._stream is not None and not self._thread.is_alive():
            self._stream.close()
        self.ring.close()

    @property
    def stuck(self) -> bool:
        """Its thread waits in PortAudio and will not come back: a dead device does that."""
        return self._thread.is_alive()

    def _read(self) -> None:
        sd = portaudio()
        size = round(BLOCK_S * self.rate)
        try:
            while not self._stopping.is_set():
                samples, overflowed = self._stream.read(size)
                now = time.monotonic()
                if self.anchor is None:
                    behind = size / self.rate + self._stream.latency
                    self.anchor = Anchor(time.time() - behind, now - behind)
                if overflowed:
                    self._make_up(now, self.anchor)
                self.ring.write(samples)
        except sd.PortAudioError as error:
            self.failure = SourceError("lost", f"{self.device.name}: stopped: {error}")
        finally:
            self.ring.close()

    def _make_up(self, now: float, anchor: Anchor) -> None:
        """Put silence where PortAudio lost samples, as many as the clock says are missing."""
        self.overflows += 1
        due = int((now - anchor.monotonic_s - self._stream.latency) * self.rate)
        missing = min(due - self.ring.written, self.ring.capacity)
        if missing > 0:
            self.lost += missing
            self.ring.write(np.zeros((missing, self.channels), np.float32))


def portaudio() -> ModuleType:
    """The sounddevice module; raises SourceError where PortAudio is not installed."""
    try:
        import sounddevice
    except OSError as error:
        raise SourceError(
            "unavailable", "PortAudio is not installed; on Debian: apt-get install libportaudio2"
        ) from error
    return sounddevice
