"""WebVTT subtitles, for the <track> element of a web page."""

from __future__ import annotations

from streamdet.formats.srt import SrtWriter


class VttWriter(SrtWriter):
    """Writes WebVTT cues."""

    _decimal_mark, _header = ".", "WEBVTT\n\n"
