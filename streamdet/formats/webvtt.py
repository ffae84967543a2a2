"""WebVTT subtitles, for the <track> element of a browser."""

from __future__ import annotations

from streamdet.formats.srt import SrtWriter


class VttWriter(SrtWriter):
    """WebVTT, for a browser's <track>."""

    _point, _head = ".", "WEBVTT\n\n"
