"""The arrivals in a recording: its events, with onsets picked on the samples."""

from __future__ import annotations

from pathlib import Path

from streamdet.audio import media
from streamdet.audio.source import SourceError
from streamdet.locate.arrival import pick_arrival
from streamdet.locate.incidents import Arrival
from streamdet.pipeline.excerpt import read_excerpt
from streamdet.pipeline.files import FilePipeline


def find_arrivals(
    pipeline: FilePipeline, path: Path, sensor: int, start_s: float
) -> tuple[list[Arrival], SourceError | None]:
    """The arrivals in a recording that began at ``start_s``, seconds since 1970, in UTC.

    The error says why the file could not be read to its end.
    """
    found: list[Arrival] = []
    try:
        source = media.open_media(path)
    except SourceError as error:
        return found, error
    try:
        for each in pipeline.analyse(source, str(path)):
            event = each.event
            excerpt = read_excerpt(event, str(path))
            if excerpt is None:
                continue
            samples, rate, onset_s = excerpt
            pick = pick_arrival(samples, rate, onset_s)
            time_s = start_s + event.onset_s - onset_s + pick.time_s
            found.append(Arrival(sensor, time_s, pick.sigma_s, event.detection.score))
    except SourceError as error:
        return found, error
    finally:
        source.close()
    return found, None
