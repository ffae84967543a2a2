"""Reads an input device in a separate process, started by `streamdet.audio.microphone`.

`python -m streamdet.audio.capture MAX_CHANNELS [NAME]`. PortAudio lists devices only when it
starts, may hang when a device is unplugged, and ends its process when a sound server dies. In a
process of its own it is started afresh for each opening, and can always be killed.

Output on stdout: one line of JSON, with "rate" and "channels", or with "reason" and "message" if
the device cannot be opened. Then records: a `RECORD_HEADER` (flags, seconds since the last sample
was captured, length in bytes), followed by that many bytes of float32 samples.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys

from streamdet.audio import device as devices
from streamdet.audio.source import SourceError

RECORD_HEADER = struct.Struct("<Bfi")
OVERFLOWED, FAILED = 1, 2
BLOCK_S = 0.02
_PR_SET_PDEATHSIG = 1


def capture(name: str | None, max_channels: int, out: int) -> None:
    """Write the samples of a device to the file descriptor ``out`` until its reader closes it.

    Raises SourceError if the device cannot be opened.
    """
    sd = devices.import_portaudio()
    device = devices.choose_device(devices.list_devices(), name)
    channels = min(max_channels, device.channels)
    try:
        stream = sd.RawInputStream(
            device=device.index,
            samplerate=device.rate,
            channels=channels,
            dtype="float32",
            latency="low",
        )
        stream.start()
    except sd.PortAudioError as error:
        raise devices.cannot_open(device, error) from error
    _write_all(out, json.dumps({"rate": device.rate, "channels": channels}).encode() + b"\n")
    size = round(BLOCK_S * device.rate)
    while True:
        try:
            block, overflowed = stream.read(size)
        except sd.PortAudioError as error:
            message = str(error).encode()
            _write_all(out, RECORD_HEADER.pack(FAILED, 0.0, len(message)) + message)
            return
        flags, latency_s = OVERFLOWED if overflowed else 0, float(stream.latency)
        _write_all(out, RECORD_HEADER.pack(flags, latency_s, len(block)) + bytes(block))


def _write_all(out: int, message: bytes) -> None:
    view = memoryview(message)
    while view:
        view = view[os.write(out, view) :]


def main() -> None:
    """Capture the device named by the arguments until stdout is closed or the parent exits."""
    max_channels, *names = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    out = os.dup(1)
    os.dup2(2, 1)  # libraries print to stdout; that must not mix with the samples
    try:
        capture(names[0] if names else None, int(max_channels), out)
    except SourceError as error:
        line = json.dumps({"reason": error.reason, "message": str(error)})
        _write_all(out, line.encode() + b"\n")
    except BrokenPipeError:
        pass
    os._exit(0)  # PortAudio's exit handler would wait for a dead device


if __name__ == "__main__":
    main()
