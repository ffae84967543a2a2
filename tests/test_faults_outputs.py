"""Outputs that fail under a running daemon: what was promised is kept, and the ear goes on."""

import json
import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import need, wait_for
from daemons import free_port

TRIAL = 'threshold = 0.6\n[[sources]]\nname = "trial"\nloop = true\nfile = "{}"\n'


class Broker:
    """A mosquitto of our own, and everything that it is told on streamdet's topics."""

    def __init__(self, folder) -> None:
        need("mosquitto", "mosquitto_sub")
        self.port, self._config = free_port(), folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.told = folder / "told.txt"
        self._processes: list[subprocess.Popen] = []

    def start(self) -> None:
        broker = subprocess.Popen(["mosquitto", "-c", str(self._config)], stderr=subprocess.DEVNULL)
        self._processes = [broker]
        with self.told.open("ab") as to:
            command = ["mosquitto_sub", "-p", str(self.port), "-q", "1", "-v", "-t", "#"]
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                listening = subprocess.Popen(command, stdout=to, stderr=subprocess.DEVNULL)
                time.sleep(0.3)
                if listening.poll() is None:
                    self._processes.append(listening)
                    return
        raise AssertionError("mosquitto did not start")

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []

    def lines(self, topic: str) -> list[str]:
        lines = self.told.read_text().splitlines() if self.told.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(topic + " ")]


class Hook:
    """An address to post to. ``hangs``: it takes requests and does not answer."""

    def __init__(self) -> None:
        self.hangs, self.status = False, 200
        self.got: list[tuple[dict, bytes]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                while hook.hangs:
                    time.sleep(0.05)
                if hook.status == 200:
                    hook.got.append((dict(self.headers), body))
                try:
                    self.send_response(hook.status)
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook?key=s3cret"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hangs = False
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook():
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def broker(tmp_path):
    made = Broker(tmp_path)
    made.start()
    yield made
    made.kill()


def keys(records):
    return [(r["id"], r["phase"]) for r in records]


def without_repeats(pairs):
    return [pair for i, pair in enumerate(pairs) if pair not in pairs[:i]]


def test_a_broker_down_for_a_minute_and_a_hook_that_hangs_get_everything_in_order(
    daemon, tmp_path, wav, broker, hook
):
    ear = daemon(
        TRIAL.format(wav)
        + f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntimeout_s = 2\n'
        + f'[webhook]\nurl = "{hook.url}"\nphase = "both"\ntimeout_s = 2\n'
        + f'[spool]\nfolder = "{tmp_path / "spool"}"\n'
    )
    wait_for(lambda: len(broker.lines("streamdet/trial/event")) >= 2)
    assert broker.lines("streamdet/status") == ["online"]
    broker.kill()
    hook.hangs = True
    time.sleep(30)
    assert ear.ready()
    assert ear.metric("sink_queue_length", sink="mqtt") >= 3
    assert ear.metric("sink_queue_length", sink="webhook") >= 3
    assert ear.metric("sink_events_total", sink="mqtt", result="failed") >= 1
    assert ear.said("mqtt: mqtt 127.0.0.1")
    assert ear.said("webhook: webhook: ReadTimeout")
    hook.hangs = False
    time.sleep(30)
    broker.start()
    wait_for(lambda: ear.metric("sink_queue_length", sink="mqtt") == 0, 40)
    wait_for(lambda: ear.metric("sink_queue_length", sink="webhook") == 0, 40)
    assert ear.stop() == 0
    truth = keys(ear.events())
    assert len(truth) >= 18
    by_mqtt = keys(map(json.loads, broker.lines("streamdet/trial/event")))
    by_hook = keys(json.loads(body) for _, body in hook.got)
    assert without_repeats(by_mqtt) == truth
    assert without_repeats(by_hook) == truth
    assert len(by_mqtt) <= len(truth) + 1  # at least once: the one that was under way
    assert broker.lines("streamdet/status")[-1] == "offline"
    assert broker.lines("streamdet/trial/state")[-2:] == ["ON", "OFF"]
    assert "s3cret" not in ear.err.read_text()
    for headers, body in hook.got:
        record = json.loads(body)
        assert headers["Idempotency-Key"] == f"{record['id']}-{record['phase']}"


def test_a_broker_says_offline_for_a_daemon_that_was_killed_and_home_assistant_is_told(
    daemon, wav, broker, tmp_path
):
    ear = daemon(
        TRIAL.format(wav)
        + f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntopic = "site/north"\n'
        + f'[spool]\nfolder = "{tmp_path / "spool"}"\n'
    )
    topic = "homeassistant/binary_sensor/site_north/trial/config"
    (sensor,) = map(json.loads, wait_for(lambda: broker.lines(topic)))
    assert sensor["state_topic"] == "site/north/trial/state"
    assert sensor["availability_topic"] == "site/north/status"
    assert sensor["unique_id"] == "streamdet_site_north_trial_gunshot"
    announce = ["mosquitto_pub", "-p", str(broker.port), "-t", "homeassistant/status"]
    subprocess.run([*announce, "-m", "online"], check=True)
    wait_for(lambda: len(broker.lines(topic)) == 2)
    ear.kill()
    wait_for(lambda: broker.lines("site/north/status")[-1:] == ["offline"], 60)


def test_what_waits_on_disk_outlives_sigkill(daemon, tmp_path, rapid, hook):
    toml = (
        TRIAL.format(rapid)
        + f'[webhook]\nurl = "{hook.url}"\nphase = "final"\ntimeout_s = 1\n'
        + f'[spool]\nfolder = "{tmp_path / "spool"}"\n'
    )
    hook.status = 503
    ear = daemon(toml)
    wait_for(lambda: ear.metric("sink_queue_length", sink="webhook") >= 2)
    ear.kill()
    before = [e["id"] for e in ear.events(phase="final")]
    hook.status = 200
    again = daemon(toml)
    wait_for(lambda: again.metric("sink_queue_length", sink="webhook") == 0)
    got = [json.loads(body)["id"] for _, body in hook.got]
    assert got[: len(before)] == before


def test_a_full_disk_stops_a_file_and_loses_nothing_when_there_is_room(daemon, tmp_path, rapid):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"can't mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        (small / "ballast").write_bytes(b"x" * 12_000)
        ear = daemon(TRIAL.format(rapid) + f'[jsonl]\npath = "{small / "events.jsonl"}"\n')
        wait_for(lambda: ear.metric("sink_events_total", sink="jsonl", result="failed") > 0, 60)
        assert ear.said("events.jsonl: No space left on device")
        assert ear.ready()
        (small / "ballast").unlink()
        wait_for(lambda: ear.metric("sink_queue_length", sink="jsonl") == 0, 40)
        assert ear.said("jsonl: delivers again")
        assert ear.stop() == 0
        kept = [json.loads(line) for line in (small / "events.jsonl").read_text().splitlines()]
        assert keys(kept) == keys(ear.events())
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_outputs_that_never_return_keep_neither_the_ear_nor_the_end(daemon, tmp_path, rapid):
    reader, writer = os.pipe()
    os.set_blocking(writer, True)
    ear = daemon(
        TRIAL.format(rapid)
        + "[stdout]\nqueue = 2\n"
        + f'[jsonl]\npath = "{tmp_path / "kept.jsonl"}"\n'
        + '[command]\nargv = ["sleep", "1000"]\ntimeout_s = 3600\nqueue = 1\n',
        stdout=writer,
    )
    os.close(writer)
    import fcntl

    # a pipe that takes two lines and no more
    fcntl.fcntl(reader, 1031, 4096)  # F_SETPIPE_SZ
    wait_for(lambda: ear.metric("sink_events_total", sink="stdout", result="dropped") >= 1, 60)
    wait_for(lambda: ear.metric("sink_events_total", sink="command", result="dropped") >= 1, 60)
    assert ear.ready()
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) >= 6
    began = time.monotonic()
    assert ear.stop(signal.SIGTERM, 15) == 0
    assert time.monotonic() - began < 8
    assert ear.said("stdout: 3 events were not delivered")
    os.close(reader)


def test_a_reader_that_goes_away_ends_it_without_a_word(daemon, rapid):
    reader, writer = os.pipe()
    ear = daemon(TRIAL.format(rapid), stdout=writer)
    os.close(writer)
    os.close(reader)
    assert ear.process.wait(30) == 0
