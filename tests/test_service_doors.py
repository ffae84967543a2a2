"""The daemon's control interfaces: systemd's socket, HTTP, signals."""

import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest
from conftest import need, wait_for
from daemons import fetch, free_port
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TRIAL = 'threshold = 0.6\n[[sources]]\nname = "trial"\nloop = true\nfile = "{}"\n'


class Systemd:
    """The socket that systemd listens on, and the (time, line) pairs received."""

    def __init__(self, path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.path, self.received = path, []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                lines = self._socket.recv(8_192).decode().splitlines()
            except OSError:
                return
            self.received += [(time.monotonic(), line) for line in lines]

    def lines(self, word: str) -> list[str]:
        return [line for _, line in list(self.received) if line.startswith(word)]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path):
    made = Systemd(tmp_path / "notify")
    yield made
    made.close()


def test_systemd_gets_ready_status_and_pings_only_while_samples_are_analysed(
    daemon, systemd, wav, tmp_path
):
    late = tmp_path / "late.wav"
    env = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "1500000"}
    service = daemon(
        "stall_s = 2\nretry_first_s = 0.3\nretry_most_s = 0.5\n"
        f'[[sources]]\nname = "trial"\nloop = true\nfile = "{late}"\n',
        env=env,
        wait=False,
    )
    wait_for(lambda: systemd.lines("STATUS=0 of 1 sources receiving audio; trial: disconnected"))
    time.sleep(1.5)
    assert not systemd.lines("READY=1")  # the model is loaded, but there are no samples yet
    assert systemd.lines("EXTEND_TIMEOUT_USEC=")
    assert systemd.lines("WATCHDOG=1")  # the source is in backoff
    late.write_bytes(wav.read_bytes())
    wait_for(lambda: systemd.lines("READY=1"))
    wait_for(lambda: systemd.lines("STATUS=1 of 1 sources receiving audio"))
    service.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    pings = len(systemd.lines("WATCHDOG=1"))
    time.sleep(2.0)
    assert len(systemd.lines("WATCHDOG=1")) == pings
    service.process.send_signal(signal.SIGCONT)
    wait_for(lambda: len(systemd.lines("WATCHDOG=1")) > pings)
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(systemd.lines("READY=1")) == 2)
    assert systemd.lines("RELOADING=1")
    assert systemd.lines("MONOTONIC_USEC=")
    assert service.stop() == 0
    wait_for(lambda: systemd.lines("STOPPING=1"))


def test_sighup_applies_a_good_configuration_and_refuses_a_bad_one(daemon, wav):
    second = f'[[sources]]\nname = "second"\nloop = true\nfile = "{wav}"\n'
    service = daemon(TRIAL.format(wav))
    wait_for(lambda: service.metric("audio_seconds_total", source="trial") > 1)
    service.configure(TRIAL.format(wav) + second)
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.metric("audio_seconds_total", source="second") > 1)
    service.configure(TRIAL.format(wav) + second + 'gain_bd = 3\n[mqtt]\nhots = "h"\n')
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.metric("config_reloads_total", result="bad") == 1)
    assert service.said("sources.second.gain_bd: unknown key; did you mean gain_db?")
    assert service.ready()
    before = service.metric("audio_seconds_total", source="second")
    service.configure(TRIAL.format(wav).replace("0.6", "0.7") + second + "gain_db = 3\n")
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.metric("config_reloads_total", result="good") == 2)
    assert service.metric("audio_seconds_total", source="second") >= before
    assert service.metric("source_reconnects_total", source="trial") == 0
    wait_for(lambda: any(e["threshold"] == 0.7 for e in service.events("trial")), 30)
    service.configure(TRIAL.format(wav))
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.metric("config_reloads_total", result="good") == 3)
    assert 'source="second"' not in service.page("/metrics")[1]
    assert service.page("/readyz")[1] == "ready\ntrial: receiving audio\n"
    assert service.stop() == 0


def test_sighup_replaces_the_model_without_reconnecting(daemon, wav):
    from conftest import ROOT

    service = daemon(TRIAL.format(wav))
    other = ROOT / "streamdet" / "model" / "zoo" / "tiny"
    service.configure(f'model = "{other}"\n' + TRIAL.format(wav))
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.metric("build_info", model="streamdet-tiny") == 1)
    assert service.metric("build_info", model="streamdet-third") == 0
    assert service.metric("source_reconnects_total", source="trial") == 0
    wait_for(lambda: any(e["model"]["name"] == "streamdet-tiny" for e in service.events()), 40)
    assert service.ready()


def test_token_and_tls_protect_the_http_pages(daemon, tmp_path, wav):
    need("openssl")
    key, cert, token = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "token"
    token.write_text("s3cret\n")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
         "-subj", "/CN=localhost", "-days", "1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    service = daemon(
        TRIAL.format(wav)
        + f'[http]\ntoken_file = "{token}"\ntls_cert = "{cert}"\ntls_key = "{key}"\n',
        wait=False,
    )
    context = ssl.create_default_context(cafile=str(cert))

    def status(path, header=None):
        request = urllib.request.Request(f"https://127.0.0.1:{service.port}{path}")
        if header:
            request.add_header("Authorization", header)
        try:
            with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    wait_for(lambda: status("/readyz", "Bearer s3cret") == 200, 40)
    assert status("/metrics", "Bearer s3cret") == 200
    for wrong in (None, "Bearer wrong", "s3cret", "Bearer ", "Basic s3cret"):
        assert status("/metrics", wrong) == 401
    assert status("/healthz") == 200
    assert "s3cret" not in service.err.read_text()


@pytest.fixture(scope="module")
def running(tmp_path_factory, wav):
    from daemons import Daemon

    service = Daemon(tmp_path_factory.mktemp("http"), TRIAL.format(wav))
    wait_for(service.ready, 40)
    yield service
    service.kill()
    assert "Traceback" not in service.err.read_text()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(max_size=300) | st.sampled_from([
    b"GET /metrics HTTP/1.1\r\nHost: " + b"x" * 70_000 + b"\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /readyz HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]))  # fmt: skip
def test_no_http_request_stops_the_server(running, raw):
    with socket.create_connection(("127.0.0.1", running.port), timeout=3) as to:
        to.sendall(raw)
        to.shutdown(socket.SHUT_WR)
        try:
            answer = to.recv(200)
        except OSError:
            answer = b""
    assert b"root:" not in answer
    assert running.page("/healthz") == (200, "alive\n")


def test_idle_connections_do_not_block_others(running):
    idle = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(40)]
    wait_for(lambda: running.page("/healthz")[0] == 200, 10)
    for one in idle:
        one.close()


def test_no_configuration_stops_the_daemon_on_sighup(daemon, wav):
    good = TRIAL.format(wav)
    service = daemon(good)
    before = service.metric("audio_seconds_total", source="trial")
    broker = good + '[mqtt]\nhost = "h"\n'
    bad = [
        "", "\0\0", "[[sources]]\n", "sources = 3\n", 'stall_s = "x"\n', "a" * 5_000_000,
        good + "[http]\nport = 1\n", good.replace("trial", "\\u0000"),
        good + '[http]\ntoken_file = "/nowhere"\n', broker + 'topic = "#"\n',
        broker + 'tls = true\nca_file = "/nowhere"\n', 'model = "/nowhere"\n' + good,
        good + '[webhook]\nurl = "http://"\n', broker + '[spool]\nfolder = "/proc/x"\n',
        'platform = "gpu"\n' + good, good + "[command]\nargv = []\n",
        good + '[http]\ntls_cert = "/nowhere"\ntls_key = "/nowhere"\n',
        good + f'[webhook]\nurl_file = "{wav}"\n', broker + 'password_file = "/nowhere"\n',
    ]  # fmt: skip
    for number, toml in enumerate(bad, 1):
        service.configure(toml)
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda n=number: service.metric("config_reloads_total", result="bad") == n, 20)
        assert service.ready()
    service.configure(good)
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.metric("config_reloads_total", result="good") == 1)
    wait_for(lambda: service.metric("audio_seconds_total", source="trial") > before)
    assert service.metric("source_reconnects_total", source="trial") == 0
    assert service.stop() == 0


def test_the_address_of_the_review_page_is_logged(daemon, tmp_path, wav):
    store = f'[store]\npath = "{tmp_path / "events.db"}"\n'
    first, second = free_port(), free_port()
    service = daemon(TRIAL.format(wav) + store, "--web", f"127.0.0.1:{first}")
    assert service.said(f"streamdet: web: http://127.0.0.1:{first}/\n")
    assert b"streamdet" in urllib.request.urlopen(f"http://127.0.0.1:{first}/", timeout=5).read()
    assert service.stop() == 0
    web = '[web]\naddress = "127.0.0.1:{}"\n'
    service = daemon(TRIAL.format(wav) + store + web.format(first))
    service.configure(TRIAL.format(wav) + store + web.format(second))
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.said(f"web: http://127.0.0.1:{second}/\n"))
    fetch(f"http://127.0.0.1:{second}/")


def test_a_review_page_that_cannot_move_stays_where_it_is(daemon, tmp_path, wav):
    toml = TRIAL.format(wav) + f'[store]\npath = "{tmp_path / "events.db"}"\n'
    port = free_port()
    service = daemon(toml + f'[web]\naddress = "127.0.0.1:{port}"\n')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for number, table in enumerate(
            (
                f'address = "127.0.0.1:{taken.getsockname()[1]}"',
                f'address = "127.0.0.1:{port}"\ntls_cert = "/nowhere"\ntls_key = "/nowhere"',
            ),
            1,
        ):
            service.configure(toml + f"[web]\n{table}\n")
            service.process.send_signal(signal.SIGHUP)
            wait_for(lambda n=number: service.metric("config_reloads_total", result="bad") == n, 20)
            fetch(f"http://127.0.0.1:{port}/")
    assert service.stop() == 0
