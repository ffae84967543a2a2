"""Input devices as PortAudio lists them, found by name.

This is the only module that imports `sounddevice`, and only when a device is used: analysing
files does not need PortAudio.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from streamdet.audio.source import SourceError


@dataclass(frozen=True)
class Device:
    """An input device as PortAudio names it. ``rate`` is its native sample rate in Hz."""

    name: str
    host_api: str
    channels: int
    rate: int
    default: bool
    index: int


def list_devices() -> list[Device]:
    """Return the input devices. Raises SourceError if PortAudio is not installed."""
    sd = import_portaudio()
    apis = sd.query_hostapis()
    devices = []
    for index, row in enumerate(sd.query_devices()):
        if row["max_input_channels"] > 0:
            api = apis[row["hostapi"]]
            devices.append(
                Device(
                    name=row["name"],
                    host_api=api["name"],
                    channels=int(row["max_input_channels"]),
                    rate=round(row["default_samplerate"]),
                    default=index == sd.default.device[0],
                    index=index,
                )
            )
    return devices


def choose_device(devices: list[Device], name: str | None) -> Device:
    """Return the device called ``name``, or the only one whose name contains it.

    Letter case is ignored. Without a name, returns the system's default input. Raises SourceError
    if no device or more than one matches.
    """
    if not devices:
        raise SourceError("unavailable", "no input device; is a microphone plugged in?")
    if name is None:
        return next((d for d in devices if d.default), devices[0])
    exact = [d for d in devices if d.name.casefold() == name.casefold()]
    matches = exact or [d for d in devices if name.casefold() in d.name.casefold()]
    if not matches:
        names = ", ".join(repr(d.name) for d in devices)
        raise SourceError("unavailable", f"no input device named {name!r}; there are: {names}")
    if len({d.name for d in matches}) > 1:
        names = ", ".join(repr(d.name) for d in matches)
        raise SourceError(
            "bad", f"{name!r} matches several input devices: {names}; give a longer part of a name"
        )
    return matches[0]


def cannot_open(device: Device, error: Exception) -> SourceError:
    """Return the error for a device that PortAudio cannot open."""
    reason = "busy" if "unavailable" in str(error).lower() else "unavailable"
    return SourceError(
        reason, f"{device.name}: cannot be opened: {error}; is another program using it?"
    )


def import_portaudio() -> ModuleType:
    """Return the sounddevice module. Raises SourceError if PortAudio is not installed."""
    try:
        import sounddevice
    except OSError as error:
        raise SourceError(
            "unavailable", "PortAudio is not installed; on Debian: apt-get install libportaudio2"
        ) from error
    return sounddevice
