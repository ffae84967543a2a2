"""A network stream as a live source, through PyAV: RTSP, HTTP and Icecast, HLS, SRT, UDP and what
else FFmpeg reads. Wants the extra "media".
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from streamdet.audio.ffmpeg import import_pyav
from streamdet.audio.live import LiveSource
from streamdet.audio.source import SourceError


class NetworkSource(LiveSource):
    """The first audio stream at an address. ``open_s`` and ``stall_s`` bound each wait for it."""

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
        self._where = redact_url(url)

    def capture(self) -> None:
        """Connect, and put what is decoded; an end is a failure, as streams have none."""
        av = import_pyav(f"{self._where}: network streams")
        try:
            with av.open(
                self._url,
                timeout=(self._open_s, self._stall_s),
                options=_options(self._url),
                metadata_errors="replace",
            ) as container:
                if not container.streams.audio:
                    raise SourceError("bad", f"{self._where}: no audio in it")
                self._decode(av, container)
        except av.error.ExitError:  # one of the two waits was too long
            if self.ring is None:
                said = f"no answer within {self._open_s:g} s"
                raise SourceError("unavailable", f"{self._where}: {said}") from None
            said = f"no sample for {self._stall_s:g} s"
            raise SourceError("lost", f"{self._where}: {said}") from None
        except av.error.FFmpegError as error:
            reason = "unavailable" if self.ring is None else "lost"
            raise SourceError(reason, f"{self._where}: {_said(error)}") from None
        except (OSError, ValueError) as error:
            reason = "unavailable" if self.ring is None else "lost"
            raise SourceError(reason, f"{self._where}: {type(error).__name__}") from None
        if not self.stopping.is_set():
            raise SourceError("lost", f"{self._where}: the server ended it")

    def _decode(self, av: ModuleType, container: Any) -> None:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt")
        for packet in container.demux(stream):
            if self.stopping.is_set():
                return
            # a broken packet is a gap, which the next one's arrival tells of
            frames = []
            with contextlib.suppress(av.error.InvalidDataError):
                frames = packet.decode()
            for frame in frames:
                if self.ring is None:
                    self.set_format(frame.sample_rate, frame.layout.nb_channels)
                elif (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self.channels):
                    raise SourceError(
                        "lost",
                        f"{self._where}: its format changed to {frame.sample_rate} Hz, "
                        f"{frame.layout.nb_channels} channels",
                    )
                for packed in resampler.resample(frame):
                    samples = packed.to_ndarray().reshape(-1, self.channels)
                    self.put(np.ascontiguousarray(samples, np.float32))


def redact_url(url: str) -> str:
    """An address for people: without user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _options(url: str) -> dict[str, str]:
    # what a server's playlist names may be fetched from the network, never from this machine
    options = {"protocol_whitelist": "http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtmp,srt,crypto"}
    if url.startswith(("rtsp:", "rtsps:")):
        options["rtsp_transport"] = "tcp"
    return options


def _said(error: Any) -> str:
    """FFmpeg's own word for what went wrong, without the address it also names."""
    return str(getattr(error, "strerror", "") or type(error).__name__)
