"""Audio devices as PortAudio lists them, found by name.

`sounddevice` is imported here alone, and only when a device is asked for: files need no
PortAudio.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from streamdet.audio.source import SourceError


@dataclass(frozen=True)
class Device:
    """An input that can be listened to, as PortAudio names it; ``rate`` is its own, in Hz."""

    name: str
    host_api: str
    channels: int
    rate: int
    default: bool
    index: int


def list_devices() -> list[Device]:
    """The inputs there are now; raises SourceError where PortAudio is not installed."""
    sd = import_portaudio()
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


def choose_device(found: list[Device], name: str | None) -> Device:
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


def cannot_open(device: Device, error: Exception) -> SourceError:
    """The error of a device that PortAudio can't open."""
    reason = "busy" if "unavailable" in str(error).lower() else "unavailable"
    return SourceError(
        reason, f"{device.name}: can't be opened: {error}; is another program using it?"
    )


def import_portaudio() -> ModuleType:
    """The sounddevice module; raises SourceError where PortAudio is not installed."""
    try:
        import sounddevice
    except OSError as error:
        raise SourceError(
            "unavailable", "PortAudio is not installed; on Debian: apt-get install libportaudio2"
        ) from error
    return sounddevice
