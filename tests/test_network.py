"""Network streams of each kind, from real senders: UDP, HLS, Icecast, SRT, RTSP."""

import http.server
import socket
import socketserver
import struct
import subprocess
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import need, wait_for
from daemons import free_port, mp3

from streamdet import demo
from streamdet.audio.network import NetworkSource
from streamdet.constants import RATE


def send_scene(url, scene, form, codec="aac", rate=48_000, stop=None, **options):
    """Send a scene in real time, repeatedly, with FFmpeg's muxers."""
    import soxr

    pcm = soxr.resample(scene, 16_000, rate).astype(np.float32)
    with av.open(url, "w", form, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        began, at, size = time.monotonic(), 0, 1_024
        while not stop.is_set():
            part = np.take(pcm, range(at, at + size), mode="wrap")
            frame = av.AudioFrame.from_ndarray(part[None], "fltp", "mono")
            frame.sample_rate, frame.pts = rate, at
            at += size
            stop.wait(max(0.0, began + at / rate - time.monotonic()))
            container.mux(stream.encode(frame))


class Sender:
    """A thread that sends until the test is over."""

    def __init__(self, *args, **options) -> None:
        self.stop = threading.Event()
        self.fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=args, kwargs=options, daemon=True)

    def _run(self, *args, **options) -> None:
        try:
            send_scene(*args, stop=self.stop, **options)
        except (av.error.FFmpegError, OSError) as error:
            self.fault = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self._thread.join(5)


SHOTS_S = [onset - 3.5 for onset in demo.ONSETS_S[:2]]


@pytest.fixture(scope="module")
def two_shots(scene):
    """8 s of the scene, with shots at SHOTS_S."""
    return scene[round(3.5 * RATE) : round(11.5 * RATE)]


def assert_detects_shots(daemon, url, wait=25):
    """Check that a daemon detects three shots of a repeated sound, at the right distances."""
    service = daemon(
        "threshold = 0.5\nretry_first_s = 0.5\nretry_most_s = 1\nopen_s = 10\n"
        f'[[sources]]\nname = "net"\nurl = "{url}"\n'
    )

    def verified():
        return [e["onset_s"] for e in service.events(phase="final") if e["verified"]]

    wait_for(lambda: len(verified()) >= 3, wait + 20)
    apart = np.diff(verified()[:3])
    around = np.diff([*SHOTS_S, SHOTS_S[0] + 8])
    assert all(min(abs(around - a)) < 0.25 for a in apart)
    assert service.stop() == 0


def test_udp(daemon, two_shots):
    url = f"udp://127.0.0.1:{free_port()}"
    with Sender(f"{url}?pkt_size=1316", two_shots, "mpegts"):
        assert_detects_shots(daemon, url)


def test_srt(daemon, two_shots):
    if not srt_supported():
        pytest.skip("the FFmpeg of PyAV's wheels is built without SRT")
    port = free_port()
    with Sender(f"srt://127.0.0.1:{port}?mode=listener", two_shots, "mpegts"):
        assert_detects_shots(daemon, f"srt://127.0.0.1:{port}")


def srt_supported() -> bool:
    """Whether FFmpeg knows the protocol: then an unused address is refused with another error."""
    try:
        av.open("srt://127.0.0.1:1", timeout=0.5)
    except av.error.ProtocolNotFoundError:
        return False
    except (av.error.FFmpegError, OSError):
        return True
    return True


def test_hls(daemon, two_shots, tmp_path):
    (tmp_path / "hls").mkdir()
    handler = partial(QuietFiles, directory=str(tmp_path / "hls"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/live.m3u8"
        with Sender(str(tmp_path / "hls" / "live.m3u8"), two_shots, "hls", hls_time="1",
                    hls_list_size="5", hls_flags="delete_segments"):  # fmt: skip
            wait_for(lambda: (tmp_path / "hls" / "live.m3u8").exists())
            assert_detects_shots(daemon, url)
        server.shutdown()


def test_a_playlist_cannot_open_a_local_file(tmp_path, wav):
    (tmp_path / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXTINF:20,\nfile://{wav}\n#EXT-X-ENDLIST\n"
    )
    handler = partial(QuietFiles, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/list.m3u8"
        feed = NetworkSource("x", url, 5, 5, 10, lambda: None)
        feed.start()
        feed.join(20)
        server.shutdown()
    assert feed.failure is not None
    assert feed.ring is None


def test_broken_packets_are_counted_and_the_stream_goes_on(tmp_path, scene):
    sound = bytearray(mp3(scene, 32_000))
    first, size = sound.index(b"\xff\xfb"), 288  # bytes of a frame at 64 kbit/s
    for number in range(200, 260, 6):
        after_header = first + number * size + 4
        sound[after_header : after_header + 32] = b"\xff" * 32
    (tmp_path / "live.mp3").write_bytes(sound)
    handler = partial(QuietFiles, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/live.mp3"
        feed = NetworkSource("x", url, 5, 5, 60, lambda: None)
        feed.start()
        feed.join(20)
        server.shutdown()
    assert "the server closed the stream" in str(feed.failure)
    assert feed.overflows > 0
    assert feed.ring.written / feed.rate == pytest.approx(len(scene) / RATE, abs=2.0)


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


ICECAST = """<icecast>
<limits><clients>10</clients><sources>2</sources><burst-size>65535</burst-size></limits>
<authentication><source-password>hackme</source-password></authentication>
<listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
<paths><logdir>{folder}</logdir><webroot>{folder}</webroot><adminroot>{folder}</adminroot></paths>
<logging><accesslog>a.log</accesslog><errorlog>e.log</errorlog></logging>
<security><chroot>0</chroot>
<changeowner><user>nobody</user><group>nogroup</group></changeowner></security>
</icecast>
"""


@pytest.fixture
def open_folder():
    """A folder that any user can write to: icecast writes its logs as the user nobody."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_icecast(daemon, two_shots, open_folder):
    need("icecast2")
    folder, port = open_folder, free_port()
    config = folder / "icecast.xml"
    config.write_text(ICECAST.format(port=port, folder=folder))
    with subprocess.Popen(
        ["icecast2", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_for(lambda: answers(port))
            source = f"icecast://source:hackme@127.0.0.1:{port}/live"
            with Sender(source, two_shots, "mp3", codec="libmp3lame", content_type="audio/mpeg"):
                time.sleep(1)
                assert_detects_shots(daemon, f"http://127.0.0.1:{port}/live")
        finally:
            server.terminate()


class Camera(socketserver.ThreadingTCPServer):
    """A camera's RTSP: describe, set up, play; uncompressed audio over the same connection."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, scene) -> None:
        super().__init__(("127.0.0.1", 0), CameraConnection)
        self.pcm = (np.clip(scene, -1, 1) * 32_767).astype(">i2").tobytes()
        self.url = f"rtsp://me:pass@127.0.0.1:{self.server_address[1]}/stream"
        self.stopping = False


class CameraConnection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        try:
            while head := self.request_head():
                sequence = next(h for h in head if h.lower().startswith("cseq"))
                method, extra, body = head[0].split()[0], "", ""
                if method == "OPTIONS":
                    extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n"
                elif method == "DESCRIBE":
                    body = (
                        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
                        "m=audio 0 RTP/AVP 96\r\na=rtpmap:96 L16/16000/1\r\na=control:a\r\n"
                    )
                    extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
                elif method == "SETUP":
                    extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
                elif method == "PLAY":
                    extra = "Session: 1\r\n"
                self.wfile.write(f"RTSP/1.0 200 OK\r\n{sequence}\r\n{extra}\r\n{body}".encode())
                if method == "PLAY":
                    self.play()
        except OSError:
            pass

    def request_head(self) -> list[str]:
        lines = []
        while line := self.rfile.readline().decode().strip():
            lines.append(line)
        return lines

    def play(self) -> None:
        pcm, began, number = self.server.pcm, time.monotonic(), 0
        while not self.server.stopping:
            at = number * 640 % len(pcm)
            packet = struct.pack(">BBHII", 0x80, 96, number & 0xFFFF, number * 320, 7)
            packet += pcm[at : at + 640]
            self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
            number += 1
            time.sleep(max(0.0, began + number * 0.02 - time.monotonic()))


def test_rtsp(daemon, two_shots):
    with Camera(two_shots) as camera:
        threading.Thread(target=camera.serve_forever, daemon=True).start()
        assert_detects_shots(daemon, camera.url)
        camera.stopping = True
        camera.shutdown()
