"""A device in a process of its own: `python -m streamdet.audio.capture [NAME]`, used by
`streamdet.audio.microphone` alone.

PortAudio lists devices when it begins and never again, may hang in a device that was pulled out,
and takes its process with it where a sound server dies. In a process of its own it is begun anew
for each opening, and ended whatever it does.

On stdout: a line of JSON with "rate" and "channels", or with "reason" and "message" where it can't
be opened; then records of `HEAD` (flags, seconds since the last sample was in the air, bytes) and
as many bytes of float32.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys

from streamdet.audio import device as audio
from streamdet.audio.source import SourceError

HEAD = struct.Struct("<Bfi")
OVERFLOWED, FAILED = 1, 2
BLOCK_S = 0.02
_PR_SET_PDEATHSIG = 1


def capture(name: str | None, most_channels: int, out: int) -> None:
    """Open a device and write what it gives until nobody reads; raises SourceError where it can't
    be opened."""
    sd = audio.import_portaudio()
    chosen = audio.choose_device(audio.list_devices(), name)
    channels = min(most_channels, chosen.channels)
    try:
        stream = sd.RawInputStream(
            device=chosen.index,
            samplerate=chosen.rate,
            channels=channels,
            dtype="float32",
            latency="low",
        )
        stream.start()
    except sd.PortAudioError as error:
        raise audio.cannot_open(chosen, error) from error
    _send(out, json.dumps({"rate": chosen.rate, "channels": channels}).encode() + b"\n")
    size = round(BLOCK_S * chosen.rate)
    while True:
        try:
            block, overflowed = stream.read(size)
        except sd.PortAudioError as error:
            said = str(error).encode()
            _send(out, HEAD.pack(FAILED, 0.0, len(said)) + said)
            return
        late = float(stream.latency)
        _send(out, HEAD.pack(OVERFLOWED if overflowed else 0, late, len(block)) + bytes(block))


def _send(out: int, message: bytes) -> None:
    view = memoryview(message)
    while view:
        view = view[os.write(out, view) :]


def main() -> None:
    """Capture what the arguments name until stdout is closed or the parent has gone."""
    most_channels, *named = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print does not belong between the samples
    try:
        capture(named[0] if named else None, int(most_channels), out)
    except SourceError as error:
        _send(out, json.dumps({"reason": error.reason, "message": str(error)}).encode() + b"\n")
    except BrokenPipeError:
        pass
    os._exit(0)  # without PortAudio's own end, which waits for a device that is dead


if __name__ == "__main__":
    main()
