"""The daemon's other doors: systemd's socket, HTTP, SIGHUP."""

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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TRIAL = 'threshold = 0.6\n[[sources]]\nname = "trial"\nloop = true\nfile = "{}"\n'


class Systemd:
    """The socket that systemd listens on, and what was said there with its moment."""

    def __init__(self, path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.path, self.told = path, []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                lines = self._socket.recv(8_192).decode().splitlines()
            except OSError:
                return
            self.told += [(time.monotonic(), line) for line in lines]

    def lines(self, word: str) -> list[str]:
        return [line for _, line in list(self.told) if line.startswith(word)]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path):
    made = Systemd(tmp_path / "notify")
    yield made
    made.close()


def test_systemd_is_told_when_it_hears_and_only_while_it_does(daemon, systemd, wav, tmp_path):
    late = tmp_path / "late.wav"
    env = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "1500000"}
    ear = daemon(
        "stall_s = 2\nretry_first_s = 0.3\nretry_most_s = 0.5\n"
        f'[[sources]]\nname = "trial"\nloop = true\nfile = "{late}"\n',
        env=env,
        wait=False,
    )
    wait_for(lambda: systemd.lines("STATUS=0 of 1 sources heard; trial: absent"))
    time.sleep(1.5)
    assert not systemd.lines("READY=1")  # warm, and no samples yet
    assert systemd.lines("EXTEND_TIMEOUT_USEC=")
    assert systemd.lines("WATCHDOG=1")  # for a backoff is announced
    late.write_bytes(wav.read_bytes())
    wait_for(lambda: systemd.lines("READY=1"))
    wait_for(lambda: systemd.lines("STATUS=1 of 1 sources heard"))
    ear.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    pings = len(systemd.lines("WATCHDOG=1"))
    time.sleep(2.0)
    assert len(systemd.lines("WATCHDOG=1")) == pings
    ear.process.send_signal(signal.SIGCONT)
    wait_for(lambda: len(systemd.lines("WATCHDOG=1")) > pings)
    ear.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(systemd.lines("READY=1")) == 2)
    assert systemd.lines("RELOADING=1")
    assert systemd.lines("MONOTONIC_USEC=")
    assert ear.stop() == 0
    wait_for(lambda: systemd.lines("STOPPING=1"))


def test_sighup_takes_a_good_configuration_and_refuses_a_bad_one(daemon, wav):
    second = f'[[sources]]\nname = "second"\nloop = true\nfile = "{wav}"\n'
    ear = daemon(TRIAL.format(wav))
    wait_for(lambda: ear.metric("audio_seconds_total", source="trial") > 1)
    ear.configure(TRIAL.format(wav) + second)
    ear.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ear.metric("audio_seconds_total", source="second") > 1)
    ear.configure(TRIAL.format(wav) + second + 'gain_bd = 3\n[mqtt]\nhots = "h"\n')
    ear.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ear.metric("config_reloads_total", result="bad") == 1)
    assert ear.said("sources.second.gain_bd: unknown key; did you mean gain_db?")
    assert ear.ready()
    before = ear.metric("audio_seconds_total", source="second")
    ear.configure(TRIAL.format(wav).replace("0.6", "0.7") + second + "gain_db = 3\n")
    ear.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ear.metric("config_reloads_total", result="good") == 2)
    assert ear.metric("audio_seconds_total", source="second") >= before
    assert ear.metric("source_reconnects_total", source="trial") == 0
    wait_for(lambda: any(e["threshold"] == 0.7 for e in ear.events("trial")), 30)
    ear.configure(TRIAL.format(wav))
    ear.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ear.metric("config_reloads_total", result="good") == 3)
    assert 'source="second"' not in ear.page("/metrics")[1]
    assert ear.page("/readyz")[1] == "hearing\ntrial: hearing\n"
    assert ear.stop() == 0


def test_another_model_is_taken_in_while_it_hears(daemon, wav):
    from conftest import ROOT

    ear = daemon(TRIAL.format(wav))
    other = ROOT / "streamdet" / "model" / "zoo" / "first"
    ear.configure(f'model = "{other}"\n' + TRIAL.format(wav))
    ear.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ear.metric("build_info", model="streamdet-first") == 1)
    assert ear.metric("build_info", model="streamdet-second") == 0
    assert ear.metric("source_reconnects_total", source="trial") == 0
    wait_for(lambda: any(e["model"]["name"] == "streamdet-first" for e in ear.events()), 40)
    assert ear.ready()


def test_a_token_and_tls_guard_the_pages(daemon, tmp_path, wav):
    need("openssl")
    key, cert, token = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "token"
    token.write_text("s3cret\n")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
         "-subj", "/CN=localhost", "-days", "1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    ear = daemon(
        TRIAL.format(wav)
        + f'[http]\ntoken_file = "{token}"\ntls_cert = "{cert}"\ntls_key = "{key}"\n',
        wait=False,
    )
    context = ssl.create_default_context(cafile=str(cert))

    def asked(path, header=None):
        request = urllib.request.Request(f"https://127.0.0.1:{ear.port}{path}")
        if header:
            request.add_header("Authorization", header)
        try:
            with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    wait_for(lambda: asked("/readyz", "Bearer s3cret") == 200, 40)
    assert asked("/metrics", "Bearer s3cret") == 200
    for wrong in (None, "Bearer wrong", "s3cret", "Bearer ", "Basic s3cret"):
        assert asked("/metrics", wrong) == 401
    assert asked("/healthz") == 200
    assert "s3cret" not in ear.err.read_text()


@pytest.fixture(scope="module")
def hearing(tmp_path_factory, wav):
    from daemons import Daemon

    ear = Daemon(tmp_path_factory.mktemp("http"), TRIAL.format(wav))
    wait_for(ear.ready, 40)
    yield ear
    ear.kill()
    assert "Traceback" not in ear.err.read_text()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(max_size=300) | st.sampled_from([
    b"GET /metrics HTTP/1.1\r\nHost: " + b"x" * 70_000 + b"\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /readyz HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]))  # fmt: skip
def test_whatever_comes_in_by_http_it_goes_on_answering(hearing, raw):
    with socket.create_connection(("127.0.0.1", hearing.port), timeout=3) as to:
        to.sendall(raw)
        to.shutdown(socket.SHUT_WR)
        try:
            answer = to.recv(200)
        except OSError:
            answer = b""
    assert b"root:" not in answer
    assert hearing.page("/healthz") == (200, "alive\n")


def test_connections_that_say_nothing_do_not_keep_others_away(hearing):
    idle = [socket.create_connection(("127.0.0.1", hearing.port)) for _ in range(40)]
    wait_for(lambda: hearing.page("/healthz")[0] == 200, 10)
    for one in idle:
        one.close()


def test_whatever_sighup_finds_it_goes_on_hearing(daemon, wav):
    good = TRIAL.format(wav)
    ear = daemon(good)
    heard = ear.metric("audio_seconds_total", source="trial")
    broker = good + '[mqtt]\nhost = "h"\n'
    bad = [
        "", "\0\0", "[[sources]]\n", "sources = 3\n", 'stall_s = "x"\n', "a" * 5_000_000,
        good + "[http]\nport = 1\n", good.replace("trial", "\\u0000"),
        good + '[http]\ntoken_file = "/nowhere"\n', broker + 'topic = "#"\n',
        broker + 'tls = true\nca_file = "/nowhere"\n', 'model = "/nowhere"\n' + good,
        good + '[webhook]\nurl = "http://"\n', broker + '[spool]\nfolder = "/proc/x"\n',
        'platform = "gpu"\n' + good, good + "[command]\nargv = []\n",
    ]  # fmt: skip
    for number, toml in enumerate(bad, 1):
        ear.configure(toml)
        ear.process.send_signal(signal.SIGHUP)
        wait_for(lambda n=number: ear.metric("config_reloads_total", result="bad") == n, 20)
        assert ear.ready()
    ear.configure(good)
    ear.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ear.metric("config_reloads_total", result="good") == 1)
    wait_for(lambda: ear.metric("audio_seconds_total", source="trial") > heard)
    assert ear.metric("source_reconnects_total", source="trial") == 0
    assert ear.stop() == 0
