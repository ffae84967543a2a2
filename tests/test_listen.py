"""`streamdet listen` on a real sound server, scraped by a real Prometheus."""

import json
import re
import signal
import socket
import subprocess
import time
import urllib.parse
from functools import partial
from pathlib import Path

import pulse
import pytest
import soundfile
from conftest import need, streamdet, wait_for
from daemons import fetch, free_port

from streamdet import demo


def sample(text: str, name: str) -> float:
    (value,) = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    return float(value)


@pytest.fixture(scope="module")
def sound_server(tmp_path_factory):
    """A headless PulseAudio whose null sink is the default input: (environment, process)."""
    need("pulseaudio", "paplay")
    with pulse.sound_server(tmp_path_factory.mktemp("pulse")) as started:
        yield started


@pytest.fixture(scope="module")
def sound(sound_server):
    """The environment in which that server is the sound system."""
    return sound_server[0]


@pytest.fixture
def listener(daemon, sound):
    """Start a daemon without a configuration file that records from the sound server."""
    return partial(daemon, "", "--device", "default", env=sound)


def play(wav, environment) -> float:
    began = time.time()
    subprocess.run(["paplay", "--device=virt", str(wav)], env=environment, check=True, timeout=60)
    return began


def test_shots_played_are_detected_counted_and_scraped(listener, sound, wav, tmp_path):
    need("prometheus", "promtool")
    service = listener("--threshold", "0.6", "--name", "yard")
    with Prometheus(tmp_path, service.port) as prometheus:
        began = play(wav, sound)
        wait_for(lambda: sum(e["verified"] for e in service.events(phase="final")) >= 3)
        wait_for(lambda: prometheus.query('streamdet_detections_total{source="yard"}') == 3.0)
        assert prometheus.query("streamdet_source_up") == 1.0
        assert prometheus.query("streamdet_false_positives_total") == 0.0
    text = service.page("/metrics")[1]
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout + checked.stderr == ""
    assert service.stop() == 0

    verified = {e["id"] for e in service.events() if e["verified"]}
    events = [e for e in service.events() if e["id"] in verified]
    for phase in ("onset", "final"):
        of_phase = [e for e in events if e["phase"] == phase]
        assert len(of_phase) == 3
        apart = [e["onset_s"] - of_phase[0]["onset_s"] for e in of_phase]
        assert apart == pytest.approx([o - demo.ONSETS_S[0] for o in demo.ONSETS_S], abs=0.1)
    assert {e["source"] for e in events} == {"yard"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", events[0]["time"])
    assert sample(text, "streamdet_last_detection_timestamp_seconds") == pytest.approx(
        began + demo.ONSETS_S[2], abs=2.0
    )
    assert sample(text, "streamdet_last_audio_timestamp_seconds") == pytest.approx(
        time.time(), abs=30.0
    )
    assert sample(text, "streamdet_detection_latency_seconds_count") == 3
    assert "process_resident_memory_bytes" in text
    assert "streamdet_build_info{" in text
    assert re.search(r"analysed \d+\.\d s, dropped 0\.0 s: 3 events", service.err.read_text())


class Prometheus:
    """A real server that scrapes one port every half second."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 500ms}\n"
            "scrape_configs:\n- job_name: streamdet\n  static_configs:\n"
            f"  - targets: ['127.0.0.1:{target}']\n"
        )
        self._command = [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]  # fmt: skip

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        wait_for(self._ready, 30)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()

    def _ready(self) -> bool:
        try:
            return "Ready" in fetch(f"http://127.0.0.1:{self.port}/-/ready")
        except OSError:
            return False

    def query(self, expression: str) -> float | None:
        url = f"http://127.0.0.1:{self.port}/api/v1/query?query={urllib.parse.quote(expression)}"
        result = json.loads(fetch(url))["data"]["result"]
        return float(result[0]["value"][1]) if result else None


def test_every_series_is_0_from_the_start(listener):
    service = listener("--name", "yard")
    wait_for(lambda: service.metric("source_up", source="yard") == 1)
    text = service.page("/metrics")[1]
    for name in ("detections_total", "input_overflows_total", "clipped_samples_total",
                 "source_reconnects_total", "last_detection_timestamp_seconds"):  # fmt: skip
        assert f'streamdet_{name}{{source="yard"}} 0.0' in text
    assert 'streamdet_false_positives_total{cause="door",source="yard"} 0.0' in text
    assert 'streamdet_reviews_total{source="yard",verdict="false"} 0.0' in text
    assert 'streamdet_sink_events_total{result="dropped",sink="stdout"} 0.0' in text
    assert 'streamdet_dropped_audio_seconds_total{reason="backlog",source="yard"} 0.0' in text


def test_sigint_closes_the_open_event_and_exits_with_0(listener, sound, tmp_path, scene):
    endless = tmp_path / "burst.wav"
    shot = scene[round(4.15 * 16_000) : round(4.6 * 16_000)]
    soundfile.write(endless, list(shot) * 40, 16_000)
    service = listener("--threshold", "0.3")
    with subprocess.Popen(["paplay", "--device=virt", str(endless)], env=sound) as player:
        wait_for(service.events)
        assert service.stop(signal.SIGINT) == 0
        player.terminate()
    events = service.events()
    assert events[-1]["phase"] == "final"
    assert {e["id"] for e in events if e["phase"] == "onset"} == {
        e["id"] for e in events if e["phase"] == "final"
    }


def test_phase_final_prints_one_line_per_event_and_duration_stops(listener, sound, rapid):
    options = ("--phase", "final", "--tell", "verified", "--duration", "8")
    service = listener("--threshold", "0.6", *options)
    play(rapid, sound)
    assert service.process.wait(60) == 0
    assert [e["phase"] for e in service.events()] == ["final"]


def test_devices_are_listed_as_a_table_and_as_json(sound):
    rows = json.loads(streamdet("devices", "--json", env=sound).stdout)
    (default,) = [r for r in rows if r["name"] == "default"]
    assert default["rate"] > 0
    assert default["channels"] > 0
    assert set(default) == {"name", "host_api", "channels", "rate", "default"}
    assert "default" in streamdet("devices", env=sound).stdout.decode()


def test_the_self_test_detects_its_shot_through_a_loopback(sound):
    done = streamdet("selftest", "--device", "default", "--threshold", "0.3", env=sound)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(b"detected")


def test_a_missing_device_is_one_line_and_code_69(sound):
    done = streamdet("listen", "--device", "no such thing", "--metrics", "off", env=sound)
    assert done.returncode == 69
    (line,) = done.stderr.splitlines()
    assert b"no input device named 'no such thing'; there are:" in line


def test_an_address_in_use_is_one_line_and_code_2(sound):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = streamdet("listen", "--device", "default", "--metrics", address, env=sound)
    assert done.returncode == 2
    assert address in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_a_source_that_stays_dead_ends_the_daemon_after_give_up_s(listener, sound_server):
    service = listener("--stall", "1", "--set", "give_up_s=3")
    sound_server[1].send_signal(signal.SIGSTOP)
    try:
        assert service.process.wait(30) == 74
    finally:
        sound_server[1].send_signal(signal.SIGCONT)
    assert "no sample for 1 s" in service.err.read_text()


@pytest.mark.parametrize("address", ["9477", "localhost:", "localhost:http", "h:99999"])
def test_an_invalid_address_is_one_line_and_code_2(address):
    done = streamdet("listen", "--metrics", address)
    assert done.returncode == 2
    assert done.stderr == b"streamdet: --metrics: http.address: must be HOST:PORT or off\n"
