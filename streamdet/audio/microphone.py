"""A device as a live source, read by a process of its own (`streamdet.audio.capture`)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import IO

import numpy as np

from streamdet.audio.capture import FAILED, HEAD, OVERFLOWED
from streamdet.audio.live import LiveSource
from streamdet.audio.source import SourceError


class MicrophoneSource(LiveSource):
    """An input device, found by name at each opening; the default one without a name."""

    def __init__(
        self,
        name: str,
        device: str | None,
        most_channels: int,
        ring_s: float,
        wake: Callable[[], None],
    ) -> None:
        super().__init__(name, ring_s, wake)
        self._device, self._most_channels = device, most_channels
        self._process: subprocess.Popen[bytes] | None = None

    def capture(self) -> None:
        """Start the process, and put what it sends."""
        command = [
            sys.executable, "-P", "-m", "streamdet.audio.capture", str(self._most_channels),
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
                    self._follow(process.stdout)
            finally:
                process.kill()

    def close(self) -> None:
        """End the process, whatever it does, and with it the thread that reads it."""
        super().close()
        if self._process is not None:
            self._process.kill()

    def _follow(self, stream: IO[bytes]) -> None:
        try:
            began = json.loads(stream.readline())
        except ValueError:
            raise self._gone("PortAudio ended before it was open") from None
        if "reason" in began:
            raise SourceError(began["reason"], began["message"])
        self.set_format(int(began["rate"]), int(began["channels"]))
        while not self.stopping.is_set():
            head = stream.read(HEAD.size)
            if len(head) < HEAD.size:
                raise self._gone("PortAudio ended")
            flags, late, length = HEAD.unpack(head)
            payload = stream.read(length)
            if flags & FAILED:
                raise self._gone(payload.decode(errors="replace"))
            if flags & OVERFLOWED:
                self.fill_gap(late)
            samples = np.frombuffer(payload, np.float32)
            self.put(samples.reshape(-1, self.channels), late)

    def _gone(self, why: str) -> SourceError:
        called = self._device or "the default input"
        return SourceError("lost", f"{called}: stopped: {why}")
