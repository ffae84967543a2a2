"""Outputs that fail under a running daemon: delivery guarantees hold, and detection goes on."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import need, wait_for
from daemons import free_port

from streamdet.config.schema import MqttConfig

TRIAL = 'threshold = 0.6\n[[sources]]\nname = "trial"\nloop = true\nfile = "{}"\n'


class Broker:
    """A mosquitto server, and all messages that it gets."""

    def __init__(self, folder) -> None:
        need("mosquitto", "mosquitto_sub")
        self.port, self._config = free_port(), folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.messages = folder / "messages.txt"
        self._processes: list[subprocess.Popen] = []

    def start(self) -> None:
        broker = subprocess.Popen(["mosquitto", "-c", str(self._config)], stderr=subprocess.DEVNULL)
        self._processes = [broker]
        with self.messages.open("ab") as to:
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
        lines = self.messages.read_text().splitlines() if self.messages.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(topic + " ")]


class Hook:
    """A web server to post to. ``hangs``: it accepts requests and does not answer."""

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


def test_a_broker_that_is_down_and_a_webhook_that_hangs_get_everything_in_order(
    daemon, tmp_path, rapid, broker, hook
):
    service = daemon(
        TRIAL.format(rapid)
        + f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntimeout_s = 2\n'
        + f'[webhook]\nurl = "{hook.url}"\nphase = "both"\ntimeout_s = 2\n'
        + f'[spool]\nfolder = "{tmp_path / "spool"}"\n'
    )
    wait_for(lambda: len(broker.lines("streamdet/trial/event")) >= 2)
    assert broker.lines("streamdet/status") == ["online"]
    broker.kill()
    hook.hangs = True
    for sink in ("mqtt", "webhook"):
        wait_for(lambda sink=sink: service.metric("sink_queue_length", sink=sink) >= 3, 40)
        wait_for(
            lambda sink=sink: service.metric("sink_events_total", sink=sink, result="failed") >= 1
        )
    assert service.said("mqtt: mqtt 127.0.0.1")
    assert service.said("webhook: webhook: ReadTimeout")
    assert service.ready()
    hook.hangs = False
    wait_for(lambda: service.metric("sink_queue_length", sink="webhook") == 0, 40)
    broker.start()
    wait_for(lambda: service.metric("sink_queue_length", sink="mqtt") == 0, 40)
    wait_for(lambda: service.metric("sink_queue_length", sink="webhook") == 0, 40)
    assert service.stop() == 0
    verified = {e["id"] for e in service.events() if e["verified"]}
    truth = keys(e for e in service.events() if e["id"] in verified)
    assert len(truth) >= 8
    by_mqtt = keys(map(json.loads, broker.lines("streamdet/trial/event")))
    by_hook = keys(json.loads(body) for _, body in hook.got)
    assert without_repeats(by_mqtt) == truth
    assert without_repeats(by_hook) == truth
    assert len(by_mqtt) <= len(truth) + 1  # at least once: the one in flight may be repeated
    assert broker.lines("streamdet/status")[-1] == "offline"
    assert broker.lines("streamdet/trial/state")[-2:] == ["ON", "OFF"]
    assert "s3cret" not in service.err.read_text()
    for headers, body in hook.got:
        record = json.loads(body)
        assert headers["Idempotency-Key"] == f"{record['id']}-{record['phase']}"


def test_the_broker_publishes_offline_for_a_killed_daemon_and_home_assistant_gets_sensors(
    daemon, wav, broker, tmp_path
):
    service = daemon(
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
    service.kill()
    wait_for(lambda: broker.lines("site/north/status")[-1:] == ["offline"], 60)


def open_files(pid: int, name: str) -> int:
    """How often a process has a file of this name open."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            count += link.readlink().name == name
    return count


def test_a_reload_with_a_bad_password_file_leaves_the_connection_and_its_spool_untouched(
    daemon, rapid, broker, hook, tmp_path
):
    password = tmp_path / "password"
    password.write_text("s3cret")
    remote = (
        f'[spool]\nfolder = "{tmp_path / "spool"}"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nuser = "u"\n'
    )
    good = TRIAL.format(rapid) + remote + f'password_file = "{password}"\n'
    service = daemon(good)
    wait_for(lambda: len(broker.lines("streamdet/trial/event")) >= 1)
    before = open_files(service.process.pid, "mqtt.db")
    assert before >= 1
    bad = [
        good.replace(str(password), "/nowhere"),
        good + f'tls = true\nca_file = "{password}"\n',
        good.replace("u", "v") + '[webhook]\nurl_file = "/nowhere"\n',
        # both spools are opened, and closed again as the address is taken
        good + f'discovery = false\n[webhook]\nurl = "{hook.url}"\n[store]\n'
        f'path = "{tmp_path / "events.db"}"\n[web]\naddress = "127.0.0.1:{broker.port}"\n',
    ]
    for number, toml in enumerate(bad, 1):
        service.configure(toml)
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda n=number: service.metric("config_reloads_total", result="bad") == n, 20)
        assert open_files(service.process.pid, "mqtt.db") == before
        assert open_files(service.process.pid, "webhook.db") == 0
        assert open_files(service.process.pid, "events.db") == 0
    events = len(broker.lines("streamdet/trial/event"))
    wait_for(lambda: len(broker.lines("streamdet/trial/event")) >= events + 2)
    assert broker.lines("streamdet/status") == ["online"]  # never disconnected
    service.configure(good + "discovery = false\n")
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: broker.lines("streamdet/status") == ["online", "offline", "online"])
    assert open_files(service.process.pid, "mqtt.db") == before
    assert service.stop() == 0
    got = without_repeats(keys(map(json.loads, broker.lines("streamdet/trial/event"))))
    assert got == keys(service.events())


def test_an_mqtt_output_connects_on_start_and_not_before():
    pytest.importorskip("paho.mqtt")
    from streamdet.outputs.mqtt import MqttOutput

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        config = MqttConfig(host="127.0.0.1", port=server.getsockname()[1])
        output = MqttOutput(config, None, ["trial"])
        with pytest.raises(TimeoutError):
            server.accept()
        output.start()
        server.settimeout(10)
        connection, _ = server.accept()
        connection.close()
        output.close()
    MqttOutput(config, None, ["trial"]).close()


def test_spooled_events_survive_sigkill(daemon, tmp_path, rapid, hook):
    toml = (
        TRIAL.format(rapid)
        + f'[webhook]\nurl = "{hook.url}"\nphase = "final"\ntimeout_s = 1\n'
        + f'[spool]\nfolder = "{tmp_path / "spool"}"\n'
    )
    hook.status = 503
    service = daemon(toml)
    wait_for(lambda: service.metric("sink_queue_length", sink="webhook") >= 2)
    service.kill()
    before = [e["id"] for e in service.events(phase="final")]
    hook.status = 200
    again = daemon(toml)
    wait_for(lambda: again.metric("sink_queue_length", sink="webhook") == 0)
    got = [json.loads(body)["id"] for _, body in hook.got]
    assert got[: len(before)] == before


def test_a_full_disk_delays_the_jsonl_file_and_loses_nothing(daemon, tmp_path, rapid):
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
        service = daemon(TRIAL.format(rapid) + f'[jsonl]\npath = "{small / "events.jsonl"}"\n')
        wait_for(lambda: service.metric("sink_events_total", sink="jsonl", result="failed") > 0, 60)
        assert service.said("events.jsonl: No space left on device")
        assert service.ready()
        (small / "ballast").unlink()
        wait_for(lambda: service.metric("sink_queue_length", sink="jsonl") == 0, 40)
        assert service.said("jsonl: delivering again")
        assert service.stop() == 0
        kept = [json.loads(line) for line in (small / "events.jsonl").read_text().splitlines()]
        assert keys(kept) == keys(service.events())
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_outputs_that_hang_block_neither_detection_nor_shutdown(daemon, tmp_path, rapid):
    reader, writer = os.pipe()
    os.set_blocking(writer, True)
    service = daemon(
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
    wait_for(lambda: service.metric("sink_events_total", sink="stdout", result="dropped") >= 1, 60)
    wait_for(lambda: service.metric("sink_events_total", sink="command", result="dropped") >= 1, 60)
    assert service.ready()
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) >= 6
    assert service.stop(signal.SIGTERM, 15) == 0
    assert service.said("stdout: 3 events were not delivered")
    os.close(reader)


def test_a_closed_stdout_ends_the_daemon_silently(daemon, rapid):
    reader, writer = os.pipe()
    service = daemon(TRIAL.format(rapid), stdout=writer)
    os.close(writer)
    os.close(reader)
    assert service.process.wait(30) == 0
