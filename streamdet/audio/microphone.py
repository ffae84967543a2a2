"""An input device as a live source, read by a separate process (`streamdet.audio.capture`)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import IO

import numpy as np

from streamdet.audio.capture import FAILED, OVERFLOWED, RECORD_HEADER
from streamdet.audio.live import LiveSource
from streamdet.audio.source import SourceError


class MicrophoneSource(LiveSource):
    """An input device, looked up by name at each opening. Without a name, the default input."""

    def __init__(
        self,
        name: str,
        device: str | None,
        max_channels: int,
        ring_s: float,
        wake: Callable[[], None],
    ) -> None:
        super().__init__(name, ring_s, wake)
        self._device, self._max_channels = device, max_channels
        self._process: subprocess.Popen[bytes] | None = None

    def capture(self) -> None:
        """Start the capture process and read its records until it ends."""
        command = [
            sys.executable, "-P", "-m", "streamdet.audio.capture", str(self._max_channels),
        ]  # fmt: skip
        if self._device:
            command.append(self._device)
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            self._process = process
            if self.stopping.is_set():
                process.kill()
            try:
                if process.stdout is not None:
                    self._read_records(process.stdout)
            finally:
                process.kill()

    def close(self) -> None:
        """Kill the capture process, which also ends the thread that reads it."""
        super().close()
        if self._process is not None:
            self._process.kill()

    def _read_records(self, stream: IO[bytes]) -> None:
        try:
            opened = json.loads(stream.readline())
        except ValueError:
            raise self._lost("PortAudio ended before the device was open") from None
        if "reason" in opened:
            raise SourceError(opened["reason"], opened["message"])
        self.set_format(int(opened["rate"]), int(opened["channels"]))
        while not self.stopping.is_set():
            header = stream.read(RECORD_HEADER.size)
            if len(header) < RECORD_HEADER.size:
                raise self._lost("PortAudio ended")
            flags, latency_s, length = RECORD_HEADER.unpack(header)
            payload = stream.read(length)
            if len(payload) < length:
                raise self._lost("PortAudio ended")
            if flags & FAILED:
                raise self._lost(payload.decode(errors="replace"))
            if flags & OVERFLOWED:
                self.fill_gap(latency_s)
            samples = np.frombuffer(payload, np.float32)
            self.put(samples.reshape(-1, self.channels), latency_s)

    def _lost(self, cause: str) -> SourceError:
        device = self._device or "the default input"
        return SourceError("lost", f"{device}: stopped: {cause}")
