"""Encode and decode sound in memory, so that training covers compressed recordings.

Each codec takes and returns ``(n,) float32`` samples at 16 kHz. The delay of a codec is a
constant and is removed, so that sounds stay where they were.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile
import soxr

from streamdet.audio.ffmpeg import import_pyav
from streamdet.constants import RATE

NARROW_RATE = RATE // 2
AAC_DELAY = 1_024
"""Samples that FFmpeg's AAC encoder puts before the first one."""


def apply_codec(name: str, x: np.ndarray, quality: float) -> np.ndarray:
    """Encode and decode ``x`` with a codec of CODEC_NAMES; ``quality`` is in [0, 1].

    Raises KeyError for an unknown name.
    """
    return _CODECS[name](np.clip(x, -1.0, 1.0), quality)


def _mp3(x: np.ndarray, quality: float) -> np.ndarray:
    return _encode_with_sndfile(x, RATE, "MP3", "MPEG_LAYER_III", 0.98 - 0.96 * quality)


def _opus(x: np.ndarray, quality: float) -> np.ndarray:
    return _encode_with_sndfile(x, RATE, "OGG", "OPUS", 0.98 - 0.96 * quality)


def _vorbis(x: np.ndarray, quality: float) -> np.ndarray:
    return _encode_with_sndfile(x, RATE, "OGG", "VORBIS", 0.98 - 0.96 * quality)


def _gsm(x: np.ndarray, _quality: float) -> np.ndarray:
    return _apply_at_8_khz(x, "GSM610")


def _telephone(x: np.ndarray, _quality: float) -> np.ndarray:
    """8 kHz mu-law, as in G.711."""
    return _apply_at_8_khz(x, "ULAW")


def _aac(x: np.ndarray, quality: float) -> np.ndarray:
    """AAC-LC at 16 to 64 kbit/s in ADTS."""
    av = import_pyav("AAC")
    sink = io.BytesIO()
    with av.open(sink, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        stream.bit_rate = int(16_000 + 48_000 * quality)
        frame = av.AudioFrame.from_ndarray(x[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
    sink.seek(0)
    with av.open(sink, "r", format="aac") as container:
        decoded = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    return _fit_length(decoded, AAC_DELAY, len(x))


def _apply_at_8_khz(x: np.ndarray, subtype: str) -> np.ndarray:
    narrow = soxr.resample(x, RATE, NARROW_RATE).astype(np.float32)
    narrow = _encode_with_sndfile(narrow, NARROW_RATE, "WAV", subtype, None)
    return _fit_length(soxr.resample(narrow, NARROW_RATE, RATE), 0, len(x))


def _encode_with_sndfile(
    x: np.ndarray, rate: int, container: str, subtype: str, level: float | None
) -> np.ndarray:
    sink = io.BytesIO()
    options: dict[str, Any] = {} if level is None else {"compression_level": level}
    with soundfile.SoundFile(sink, "w", rate, 1, subtype, format=container, **options) as file:
        for start in range(0, len(x), RATE):  # long Ogg writes overflow libsndfile's stack
            file.write(x[start : start + RATE])
    sink.seek(0)
    decoded, _ = soundfile.read(sink, dtype="float32")
    return _fit_length(decoded, 0, len(x))


def _fit_length(x: np.ndarray, delay: int, length: int) -> np.ndarray:
    x = x[delay : delay + length]
    return np.pad(x, (0, length - len(x))).astype(np.float32, copy=False)


_CODECS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "mp3": _mp3,
    "aac": _aac,
    "opus": _opus,
    "vorbis": _vorbis,
    "gsm": _gsm,
    "telephone": _telephone,
}
CODEC_NAMES = tuple(_CODECS)
