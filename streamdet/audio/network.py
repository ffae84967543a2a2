"""A network stream as a live source: RTSP, HTTP, Icecast, HLS, SRT, UDP and more, through PyAV.

Needs the extra "media".
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from streamdet.audio.ffmpeg import import_pyav
from streamdet.audio.live import LiveSource
from streamdet.audio.source import SourceError


class NetworkSource(LiveSource):
    """The first audio stream at a URL.

    ``open_s`` limits the time to connect, ``stall_s`` the time without data, both in seconds.
    """

    def __init__(
        self,
        name: str,
        url: str,
        open_s: float,
        stall_s: float,
        ring_s: float,
        wake: Callable[[], None],
    ) -> None:
        super().__init__(name, ring_s, wake)
        self._url, self._open_s, self._stall_s = url, open_s, stall_s
        self._public_url = redact_url(url)

    def capture(self) -> None:
        """Connect and decode. The end of the stream is a failure: a live stream has no end."""
        av = import_pyav(self._public_url)
        message: str | None = None
        try:
            with av.open(
                self._url,
                timeout=(self._open_s, self._stall_s),
                options=_ffmpeg_options(self._url),
                metadata_errors="replace",
            ) as container:
                if not container.streams.audio:
                    raise SourceError("bad", f"{self._public_url}: no audio stream")
                self._decode(av, container)
        except av.error.ExitError:  # FFmpeg's word for a timeout
            message = f"no sample for {self._stall_s:g} s"
            if self.ring is None:
                message = f"no answer within {self._open_s:g} s"
        except av.error.FFmpegError as error:
            # without the URL that FFmpeg's own message contains: it may hold a password
            message = str(getattr(error, "strerror", "") or type(error).__name__)
        except (OSError, ValueError) as error:
            message = type(error).__name__
        if message is not None:
            reason = "unavailable" if self.ring is None else "lost"
            raise SourceError(reason, f"{self._public_url}: {message}")
        if not self.stopping.is_set():
            raise SourceError("lost", f"{self._public_url}: the server closed the stream")

    def _decode(self, av: ModuleType, container: Any) -> None:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt")
        for packet in container.demux(stream):
            if self.stopping.is_set():
                return
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.overflows += 1
                continue
            for frame in frames:
                if self.ring is None:
                    self.set_format(frame.sample_rate, frame.layout.nb_channels)
                elif (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self.channels):
                    raise SourceError(
                        "lost",
                        f"{self._public_url}: the format changed to {frame.sample_rate} Hz, "
                        f"{frame.layout.nb_channels} channels",
                    )
                for packed in resampler.resample(frame):
                    samples = packed.to_ndarray().reshape(-1, self.channels)
                    self.put(np.ascontiguousarray(samples, np.float32))


def redact_url(url: str) -> str:
    """Return a URL without user, password, query and fragment, for messages."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _ffmpeg_options(url: str) -> dict[str, str]:
    # a playlist may name addresses on the network, but no files on this machine
    options = {"protocol_whitelist": "http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtmp,srt,crypto"}
    if url.startswith(("rtsp:", "rtsps:")):
        options["rtsp_transport"] = "tcp"
    return options
