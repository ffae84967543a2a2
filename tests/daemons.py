"""A daemon as an operator runs it, and the servers it is tried against."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import wait_for


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


PROGRAM = (sys.executable, "-m", "streamdet")


class Daemon:
    """`streamdet listen` in the background over a configuration, its lines collected by files."""

    def __init__(
        self, folder: Path, toml: str, *options: str, program=PROGRAM, env=None, stdout=None
    ) -> None:
        self.folder = folder
        self.config = folder / "streamdet.toml"
        self.out, self.err = folder / "out.jsonl", folder / "err.txt"
        self.port = free_port()
        self.configure(toml)
        command = [*program, "listen", "--config", str(self.config),
                   "--metrics", f"127.0.0.1:{self.port}", *options]  # fmt: skip
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(command, stdout=stdout or out, stderr=err, env=env)

    def configure(self, toml: str) -> None:
        self.config.write_text(toml)

    def events(self, source: str | None = None, phase: str | None = None) -> list[dict]:
        lines = self.out.read_bytes().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [
            e
            for e in found
            if (source is None or e["source"] == source) and phase in (None, e["phase"])
        ]

    def metric(self, name: str, **labels: str) -> float:
        """The value of a series; 0 if the daemon does not answer."""
        try:
            text = fetch(f"http://127.0.0.1:{self.port}/metrics")
        except OSError:
            return 0.0
        for line in text.splitlines():
            match = re.fullmatch(rf"streamdet_{name}(?:{{(.*)}})? (\S+)", line)
            if match and all(f'{k}="{v}"' in (match[1] or "") for k, v in labels.items()):
                return float(match[2])
        return 0.0

    def page(self, path: str) -> tuple[int, str]:
        try:
            return 200, fetch(f"http://127.0.0.1:{self.port}{path}")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        return self.page("/readyz")[0] == 200

    def said(self, words: str) -> bool:
        return words in self.err.read_text()

    @property
    def memory(self) -> int:
        """Resident bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) * 1024

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def daemon(tmp_path):
    """Starts daemons, and ends them."""
    started: list[Daemon] = []

    def start(toml: str, *options: str, wait: bool = True, **others) -> Daemon:
        started.append(Daemon(tmp_path, toml, *options, **others))
        if wait:
            wait_for(started[-1].ready, 40)
        return started[-1]

    yield start
    for one in started:
        one.kill()
    for one in started:
        assert "Traceback" not in one.err.read_text()


def mp3(samples: np.ndarray, rate: int) -> bytes:
    """``(n,)`` samples at 16 kHz as MPEG audio at another rate."""
    import soxr

    pcm = soxr.resample(samples, 16_000, rate)
    pcm = np.clip(pcm * 32_767, -32_768, 32_767).astype(np.int16)[None]
    made = io.BytesIO()
    with av.open(made, "w", "mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout="mono")
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(pcm, "s16p", "mono")
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        fifo.write(frame)
        while (part := fifo.read(1_152)) or (part := fifo.read(0)):
            part.pts = None
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return made.getvalue()


class Radio:
    """An HTTP server that streams MPEG audio at its own pace, over and over, and can be made to
    fail: ``cut`` (connections closed, and refused), ``stalled`` (open, and silent), another
    ``rate`` in the midst of the stream."""

    def __init__(self, scene: np.ndarray, rates: tuple[int, ...] = (32_000,)) -> None:
        self.seconds = len(scene) / 16_000
        self.tapes = {rate: mp3(scene, rate) for rate in rates}
        self.rate = rates[0]
        self.cut = self.stalled = False
        self.listeners = 0
        self.began: list[float] = []
        radio = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if radio.cut:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "audio/mpeg")
                self.end_headers()
                radio.play(self.wfile)

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/live.mp3"

    def play(self, to) -> None:
        self.listeners += 1
        try:
            while not self.cut:
                tape, rate = self.tapes[self.rate], self.rate
                self.began.append(time.time())
                began, sent = time.monotonic(), 0
                while sent < len(tape) and not self.cut and self.rate == rate:
                    due = int(len(tape) * (time.monotonic() - began) / self.seconds)
                    if self.stalled:
                        time.sleep(0.05)
                        continue
                    to.write(tape[sent : max(sent, due)])
                    sent = max(sent, due)
                    time.sleep(0.02)
        except OSError:
            pass
        finally:
            self.listeners -= 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.cut = True
        self._server.shutdown()
        self._server.server_close()
