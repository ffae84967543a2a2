"""Containers and codecs that FFmpeg makes media of, for tests and benchmarks."""

from __future__ import annotations

PICTURE = ("-f", "lavfi", "-i", "testsrc=size=160x90:rate=25:duration=20")
FORMS: dict[str, list[str]] = {
    "mp4": [], "mkv": [], "mov": [],
    "webm": ["-c:v", "libvpx", "-b:v", "100k", "-deadline", "realtime", "-c:a", "libopus"],
    "mxf": ["-c:v", "mpeg2video", "-ar", "48000", "-c:a", "pcm_s16le"], "m4a": ["-vn"],
    "avi": ["-c:v", "mpeg4", "-c:a", "pcm_s16le"], "ts": ["-c:a", "ac3", "-ar", "48000"],
    "mka": ["-vn", "-c:a", "flac"], "wma": ["-vn", "-c:a", "wmav2"],
    "flv": ["-c:v", "flv1", "-c:a", "aac", "-ar", "44100"], "3gp": ["-c:v", "mpeg4", "-c:a", "aac"],
    "wav": ["-vn"], "flac": ["-vn"], "ogg": ["-vn"], "mp3": ["-vn"],
}  # fmt: skip
"""FFmpeg's options for each file suffix."""
