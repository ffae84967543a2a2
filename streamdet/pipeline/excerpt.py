"""The sound of a moment, out of the file that it was heard in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamdet.audio import media
from streamdet.audio.resample import downmix
from streamdet.audio.source import SourceError
from streamdet.detection.event import Event

PRE_S, POST_S = 2.0, 3.0
"""What is kept before the onset and behind the end."""


def read_excerpt(
    event: Event, path: str, track: str | None = None
) -> tuple[np.ndarray, int, float] | None:
    """``(n,) float32`` samples of the channel that spoke, their rate, and where in them the event
    begins, in seconds; silence where the file has a gap, None where it can't be read once more.
    What is damaged was told of when it was heard."""
    if path == "-":
        return None
    offset_s = event.offset_s or event.onset_s
    first_s, last_s = max(0.0, event.onset_s - PRE_S), offset_s + POST_S
    try:
        source = media.open_media(Path(path), first_s, last_s, track)
    except SourceError:
        return None
    channel = event.detection.channel
    alone = int(channel) if channel is not None and channel.isdigit() else None
    first, end = round(first_s * source.rate), round(first_s * source.rate)
    room = np.zeros(round((last_s - first_s) * source.rate) + 1, np.float32)
    try:
        for block in source.blocks():
            at = block.start - first
            part = downmix(block.samples, alone)[: max(0, len(room) - at)]
            room[at : at + len(part)] = part
            end = block.start + len(part)
    except SourceError:
        pass
    finally:
        source.close()
    if end == first:
        return None
    return np.nan_to_num(room[: end - first]), source.rate, event.onset_s - first_s
