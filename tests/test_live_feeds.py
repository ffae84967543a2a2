"""Live sources one by one, and the log lines of a daemon."""

import io
import json
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
from conftest import ROOT, records, streamdet, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet import demo
from streamdet.audio.capture import RECORD_HEADER
from streamdet.audio.clock import SampleClock
from streamdet.audio.microphone import MicrophoneSource
from streamdet.audio.network import NetworkSource
from streamdet.daemon.log import DaemonLog

LISTEN = [sys.executable, "-m", "streamdet", "listen", "--metrics", "off", "--threshold", "0.6",
          "--phase", "final"]  # fmt: skip


def onsets(out: bytes) -> list[float]:
    return [e["onset_s"] for e in records(out) if e["verified"]]


def test_stdin_as_wav_and_as_raw_pcm_is_analysed_to_its_end(wav, scene):
    done = streamdet(*LISTEN[3:], "--pipe", "-", stdin=wav.read_bytes())
    assert done.returncode == 0, done.stderr
    assert onsets(done.stdout) == pytest.approx(demo.ONSETS_S, abs=0.05)
    raw = (np.clip(scene, -1, 1) * 32_767).astype("<i2").tobytes()
    done = streamdet(*LISTEN[3:], "--pipe", "-", stdin=raw)
    assert onsets(done.stdout) == pytest.approx(demo.ONSETS_S, abs=0.05)
    assert records(done.stdout)[0]["source"] == "stdin"


def test_a_fifo_waits_for_its_next_writer(daemon, tmp_path, wav):
    fifo = tmp_path / "audio.fifo"
    os.mkfifo(fifo)
    service = daemon(
        f'threshold = 0.6\nretry_first_s = 0.2\n[[sources]]\nname = "f"\npipe = "{fifo}"\n',
        wait=False,
    )
    for number in (1, 2):
        with fifo.open("wb") as to:
            to.write(wav.read_bytes())
        wait_for(lambda n=number: len(service.events(phase="final")) == 3 * n)
        wait_for(lambda: service.said("its writer has gone"))


def test_no_realtime_analyses_a_file_as_fast_as_possible(wav):
    done = streamdet(*LISTEN[3:], "--file", wav, "--no-realtime")
    assert {e["time"] for e in records(done.stdout)} == {None}
    assert onsets(done.stdout) == pytest.approx(demo.ONSETS_S, abs=0.05)


def test_gain_and_channel_of_a_source_are_applied(tmp_path, scene):
    path = tmp_path / "two.wav"
    soundfile.write(path, np.stack([np.zeros_like(scene), scene], axis=1), 16_000)
    base = [*LISTEN[3:], "--file", path, "--no-realtime", "--name", "x"]
    assert len(onsets(streamdet(*base, "--channel", "2").stdout)) == 3
    assert onsets(streamdet(*base, "--channel", "1").stdout) == []
    third = streamdet(*base, "--channel", "3")
    assert third.returncode == 2
    line = third.stderr.splitlines()[-1]
    assert line == b"streamdet: x: channel: there is no channel 3; use 1 to 2"
    plain, loud = (
        records(streamdet(*base, "--channel", "2", "--set", f"sources.x.gain_db={db}").stdout)
        for db in (0, 6)
    )
    assert loud[0]["level_dbfs"] - plain[0]["level_dbfs"] == pytest.approx(6, abs=0.2)


def test_source_options_without_a_source_are_refused(tmp_path, wav):
    config = tmp_path / "c.toml"
    config.write_text(f'[[sources]]\nname = "a"\nfile = "{wav}"\n')
    done = streamdet("listen", "--config", config, "--channel", "1")
    assert done.returncode == 2
    assert done.stderr.startswith(b"streamdet: --channel: needs --device, --url, --pipe or --file")
    done = streamdet("listen", "--file", wav, "--pipe", "-")
    assert done.stderr == b"streamdet: --pipe and --file: give one of them\n"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://me:s3cret@127.0.0.1:1/a.mp3?token=s3cret", "Connection refused"),
        ("rtsp://me:s3cret@127.0.0.1:1/stream", "Connection refused"),
        ("http://me:s3cret@no-such-host.invalid/a", "no-such-host.invalid"),
    ],
)
def test_an_unreachable_url_is_one_line_without_its_password(url, word):
    done = streamdet("listen", "--url", url, "--metrics", "off")
    assert done.returncode == 69
    assert word in done.stderr.decode()
    assert "s3cret" not in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_server_that_never_answers_is_reported_as_such():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/a.mp3"
        feed = NetworkSource("x", url, 0.5, 0.5, 5, lambda: None)
        feed.start()
        feed.join(10)
    assert str(feed.failure) == f"{url}: no answer within 0.5 s"


def test_a_device_whose_process_ends_within_a_block_is_lost(monkeypatch, tmp_path):
    process = tmp_path / "capture"
    process.write_text(f"""#!{sys.executable}
import os, sys
sys.stdout.write('{{"rate": 48000, "channels": 1}}\\n')
sys.stdout.flush()
os.write(1, {RECORD_HEADER.pack(0, 0.0, 8) + bytes(8) + RECORD_HEADER.pack(0, 0.0, 8) + bytes(5)})
""")
    process.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(process))
    feed = MicrophoneSource("x", "the device", 1, 5, lambda: None)
    feed.start()
    feed.join(10)
    assert str(feed.failure) == "the device: stopped: PortAudio ended"
    assert feed.ring.written == 2


@settings(max_examples=30, deadline=None)
@given(tail=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30))
def test_any_url_fails_with_a_source_error(tail):
    feed = NetworkSource("x", f"http://127.0.0.1:1/{tail}", 2, 2, 5, lambda: None)
    feed.start()
    feed.join(10)
    assert feed.failure is not None
    assert str(feed.failure).startswith("http://127.0.0.1:1/")


@given(
    drift=st.floats(-200e-6, 200e-6),
    late=st.lists(st.floats(0, 0.3), min_size=100, max_size=100),
)
def test_the_sample_clock_follows_the_drift_of_a_sound_card(drift, late):
    clock, rate, began = SampleClock(48_000), 48_000, 1_000.0
    late[::3] = [0.0] * 34
    for i in range(100):
        true = (i + 1) * 6.0
        clock.record_arrival(round(true * rate * (1 + drift)), began + true + late[i])
    seconds = 100 * 6.0 * (1 + drift)
    assert clock.time_of(seconds) == pytest.approx(began + 600.0, abs=70 * abs(drift) + 1e-3)


def test_a_burst_of_buffered_samples_does_not_shift_the_clock():
    clock = SampleClock(16_000)
    clock.record_arrival(16_000 * 5, 100.0)  # five seconds at once: the last is of now
    assert clock.time_of(5.0) == 100.0
    clock.record_arrival(16_000 * 6, 101.0)
    assert clock.time_of(6.0) == 101.0


def test_repeated_lines_are_counted_and_not_printed():
    now, out = [0.0], io.StringIO()
    log = DaemonLog("text", 60, out, lambda: now[0])
    for _ in range(5):
        log.emit("failed", "it is gone", "warning", source="gate")
    log.emit("failed", "it is gone", "warning", source="yard\x1b[2J\n")
    now[0] = 61.0
    log.emit("failed", "it is gone", "warning", source="gate")
    log.close()
    assert out.getvalue().splitlines() == [
        "streamdet: gate: it is gone",
        "streamdet: yard\ufffd[2J\ufffd: it is gone",
        "streamdet: gate: it is gone (repeated 4 times)",
    ]


def test_a_log_without_a_reader_does_not_block():
    held = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            held.wait()
            return len(text)

    log = DaemonLog("json", 60, Stuck())
    for i in range(5_000):
        log.emit("x", str(i))
    log.close(0.1)
    held.set()


def test_lines_can_be_json(wav):
    done = streamdet("listen", "--file", wav, "--no-realtime", "--metrics", "off", "--log", "json")
    rows = [json.loads(line) for line in done.stderr.splitlines()]
    assert [r["event"] for r in rows] == ["receiving", "ready", "ended", "stopped"]
    assert {"time", "level", "event", "message"} <= set(rows[0])


def test_the_example_of_the_operators_guide_is_valid():
    text = (ROOT / "docs" / "operate.md").read_text()
    toml = text.split("```toml\n")[1].split("```")[0]
    command = [sys.executable, "-m", "streamdet", "config", "show", "--config", "/dev/stdin"]
    done = subprocess.run(command, input=toml.encode(), capture_output=True, check=True)
    assert b'name = "yard"' in done.stdout
