"""The server of the review page: its address, its limits, TLS and the extra."""

import contextlib
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time

import httpx
import pytest
from conftest import need, streamdet, wait_for
from daemons import free_port
from review_pages import StorePage

from streamdet.store.store import EventStore


def test_a_thousand_viewers_are_limited_and_do_not_slow_the_daemon(open_page):
    page = open_page()
    wait_for(lambda: page.daemon.metric("detections_total", source="trial") >= 1, 30)
    before = page.daemon.metric("dropped_audio_seconds_total", source="trial")
    analysed = page.daemon.metric("audio_seconds_total", source="trial")
    began = time.monotonic()
    live: set[socket.socket] = set()

    def count_live() -> int:
        for connection in connections:
            with contextlib.suppress(OSError):
                if b"event: live" in connection.recv(65_536):
                    live.add(connection)
        return len(live)

    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(1_000):
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", page.port), timeout=2)
                connections.append(stack.enter_context(connection))
                request = b"GET /api/stream?live=trial HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
                connection.sendall(request)
        for connection in connections:
            connection.setblocking(False)
        wait_for(count_live, 30)
        time.sleep(3)
        assert count_live() <= 50
        took = time.monotonic() - began
        grown = page.daemon.metric("audio_seconds_total", source="trial") - analysed
        assert grown == pytest.approx(took, abs=2.0)
        assert page.daemon.metric("dropped_audio_seconds_total", source="trial") == before
        assert page.daemon.metric("backlog_seconds", source="trial") < 1.0
        assert page.daemon.ready()
    wait_for(page.answers, 20)


def test_an_address_in_use_is_one_line_and_code_2(tmp_path, rapid):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = streamdet("listen", "--file", rapid, "--metrics", "off", "--store",
                         tmp_path / "e.db", "--web", address)  # fmt: skip
    assert done.returncode == 2
    assert address in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_without_the_extra_the_error_says_what_to_install(tmp_path, rapid):
    EventStore(tmp_path / "e.db").close()
    for command in (
        ["listen", "--file", str(rapid), "--metrics", "off", "--web", "127.0.0.1:9"],
        ["review", "--web", "127.0.0.1:9"],
    ):
        arguments = [*command, "--store", str(tmp_path / "e.db")]
        code = (
            "import sys; sys.modules['starlette'] = None; "
            f"sys.argv = ['streamdet', *{arguments!r}]\n"
            "from streamdet.cli.main import run\nrun()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert done.returncode == 2, done.stderr
        assert b"pip install 'streamdet[web]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_page_is_served_by_tls_with_a_secure_cookie(open_page, tmp_path):
    need("openssl")
    cert, key, secret = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "token"
    secret.write_text("a token\n")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    page = open_page(f'token_file = "{secret}"\ntls_cert = "{cert}"\ntls_key = "{key}"')
    context = ssl.create_default_context(cafile=str(cert))
    with httpx.Client(base_url=f"https://127.0.0.1:{page.port}", verify=context) as client:
        answer = client.post("/login", data={"token": "a token"})
        assert answer.status_code == 303
        assert "Secure" in answer.headers["set-cookie"]
        assert client.get("/events").status_code == 200


@pytest.mark.parametrize("table", ["web", "http"])
def test_a_certificate_that_can_not_be_loaded_is_one_line_and_code_2(tmp_path, rapid, table):
    key = tmp_path / "key.pem"
    key.write_text("not a key")
    address = f'address = "127.0.0.1:{free_port()}"\n'
    config = tmp_path / "streamdet.toml"
    config.write_text(
        f'[store]\npath = "{tmp_path}/e.db"\n'
        + ('[http]\naddress = "off"\n' if table == "web" else "")
        + f'[{table}]\n{address}tls_cert = "{key}"\ntls_key = "{key}"\n'
        f'[[sources]]\nname = "trial"\nfile = "{rapid}"\n'
    )
    done = streamdet("listen", "--config", config)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"streamdet: {table}: the TLS certificate or key can't be loaded: ")
    assert line.endswith(f"Check {table}.tls_cert and {table}.tls_key.")


def test_a_store_that_can_not_be_read_is_logged(tmp_path):
    page = StorePage(tmp_path)
    with sqlite3.connect(tmp_path / "events.db") as db:
        db.execute("ALTER TABLE events RENAME TO moved")
    answer = page.http.get("/events")
    page.http.close()
    page.process.send_signal(signal.SIGINT)
    _, stderr = page.process.communicate(timeout=20)
    assert answer.status_code == 503
    assert "See the log of streamdet" in answer.text
    assert f"streamdet: web: {tmp_path}/events.db: no such table".encode() in stderr
