"""The audio of an event, read from the file that it was detected in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamdet.audio import media
from streamdet.audio.resample import downmix
from streamdet.audio.source import SourceError
from streamdet.detection.event import Event

PRE_S, POST_S = 2.0, 3.0
"""Seconds before the onset and after the end that an excerpt includes."""


def read_excerpt(
    event: Event, path: str, track: str | None = None
) -> tuple[np.ndarray, int, float] | None:
    """Read the excerpt of an event, in the channel of the event.

    Returns ``(n,) float32`` samples, their rate in Hz, and the onset in seconds of the excerpt. A
    gap in the file reads as silence. Returns None for stdin and for a file that can't be read; a
    damaged file was already reported when it was analysed.
    """
    if path == "-":
        return None
    offset_s = event.offset_s or event.onset_s
    first_s, last_s = max(0.0, event.onset_s - PRE_S), offset_s + POST_S
    try:
        source = media.open_media(Path(path), first_s, last_s, track)
    except SourceError:
        return None
    channel = event.detection.channel
    number = int(channel) if channel is not None and channel.isdigit() else None
    first, end = round(first_s * source.rate), round(first_s * source.rate)
    samples = np.zeros(round((last_s - first_s) * source.rate) + 1, np.float32)
    try:
        for block in source.blocks():
            at = block.start - first
            part = downmix(block.samples, number)[: max(0, len(samples) - at)]
            samples[at : at + len(part)] = part
            end = block.start + len(part)
    except SourceError:
        pass
    finally:
        source.close()
    if end == first:
        return None
    samples = np.nan_to_num(samples[: end - first], nan=0.0, posinf=0.0, neginf=0.0)
    return samples, source.rate, event.onset_s - first_s
