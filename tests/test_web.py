"""The review page over HTTP: what it shows, what it takes, and what it refuses."""

import base64
import contextlib
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from conftest import need, wait_for
from daemons import free_port
from test_evidence import trial
from test_store import record_of

from streamdet.store.store import EventStore
from streamdet.store.verdict import Verdict

SAID = {"X-Streamdet": "1"}


class Reviewed:
    """A daemon with a page, and a client of it."""

    def __init__(self, ear, port: int, **options) -> None:
        self.ear, self.port = ear, port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, **options)

    def events(self, **query) -> list[dict]:
        return self.http.get("/api/events", params=query).json()

    def answers(self) -> bool:
        try:
            return self.http.get("/events").status_code == 200
        except httpx.TransportError:
            return False

    def judge(self, event: str, **said):
        return self.http.post(f"/api/events/{event}/verdict", json=said, headers=SAID)


@pytest.fixture
def page(daemon, rapid, tmp_path):
    clients = []

    def start(web: str = "", **parts) -> Reviewed:
        port = free_port()
        table = f'[web]\naddress = "127.0.0.1:{port}"\n{web}\n'
        text = trial(tmp_path, rapid, **parts).replace("[[sources]]", f"{table}[[sources]]", 1)
        clients.append(Reviewed(daemon(text), port))
        return clients[-1]

    yield start
    for client in clients:
        client.http.close()


def test_every_page_shows_what_is_there_and_what_is_not(page):
    shown = page()
    for path, words in (
        ("/", "Newest events"), ("/events", "Events"), ("/day", "UTC"), ("/precision", "threshold"),
        ("/day/2020-01-01", "No events on this day"), ("/events?verdict=true", "No events fit"),
        ("/precision?source=nobody&days=7", "Nothing was called true or false"),
    ):  # fmt: skip
        answer = shown.http.get(path)
        assert answer.status_code == 200, path
        assert words in answer.text, path
    wait_for(lambda: any(e["clip"] for e in shown.events()), 30)
    event = next(e for e in shown.events() if e["clip"])
    text = shown.http.get(f"/events/{event['id']}").text
    assert "streamdet-second/1" in text
    assert f"{event['score']:.2f}" in text
    assert event["id"] in shown.http.get("/events").text
    assert shown.http.get(f"/events/{event['id']}/card").text.lstrip().startswith("<article")
    picture = shown.http.get(f"/api/events/{event['id']}/picture").json()
    assert picture["bands"] == 64
    record = shown.http.get(f"/api/events/{event['id']}").json()
    assert record["curve"]
    assert record["reviews"] == []


def test_a_clip_is_played_whole_or_in_part_and_can_be_deleted(page):
    shown = page()
    wait_for(lambda: any(e["clip"] for e in shown.events()), 30)
    event = next(e["id"] for e in shown.events() if e["clip"])
    path = f"/api/events/{event}/clip"
    whole = shown.http.get(path)
    assert whole.headers["content-type"] == "audio/flac"
    assert whole.content.startswith(b"fLaC")
    part = shown.http.get(path, headers={"Range": "bytes=4-7"})
    assert part.status_code == 206
    assert part.content == whole.content[4:8]
    assert shown.http.delete(path, headers=SAID).status_code == 204
    assert shown.http.get(path).status_code == 404
    assert event not in json.dumps([e for e in shown.events() if e["clip"]])
    assert event in json.dumps(shown.events(limit=1000))


def test_a_verdict_counts_can_be_changed_and_is_told_to_other_pages(page):
    shown = page()
    wait_for(lambda: shown.events(), 30)
    event = shown.events()[0]["id"]
    told: list[str] = []

    def look_on() -> None:
        with httpx.stream("GET", f"http://127.0.0.1:{shown.port}/api/stream", timeout=30) as lines:
            told.extend(line for _, line in zip(range(60), lines.iter_lines(), strict=False))

    looking = threading.Thread(target=look_on, daemon=True)
    looking.start()
    time.sleep(0.5)
    assert shown.judge(event, verdict="false", cause="thunder", note="rain too").status_code == 200
    labels = {"source": "trial", "cause": "thunder"}
    wait_for(lambda: shown.ear.metric("false_positives_total", **labels) == 1, 5)
    assert shown.judge(event, verdict="true", reviewer="ann").json()["verdict"] == "true"
    wait_for(lambda: shown.ear.metric("reviews_total", source="trial", verdict="true") == 1, 5)
    reviews = shown.http.get(f"/api/events/{event}").json()["reviews"]
    assert [r["verdict"] for r in reviews] == ["false", "true"]
    assert reviews[0]["note"] == "rain too"
    assert [e["id"] for e in shown.events(verdict="true")] == [event]
    assert shown.ear.stop() == 0
    looking.join(10)
    assert [line for line in told if event in line and '"cause":"thunder"' in line]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, 400), ({"verdict": "maybe"}, 400), ({"verdict": "true", "cause": "door"}, 400),
        ({"verdict": "false", "cause": "ghost"}, 400), ({"verdict": "true", "note": 3}, 400),
        ({"verdict": "true", "x": "y"}, 400), ([1], 400), ("true", 400),
        ({"verdict": "true", "note": "x" * 3_000}, 400),
    ],
)  # fmt: skip
def test_what_is_no_verdict_is_refused_in_words(alone, said, status):
    answer = alone.judge_any(said)
    assert answer.status_code == status
    assert answer.json()["error"]


class Alone:
    """`streamdet review --web` over a store with five events."""

    def __init__(self, folder: Path) -> None:
        path = folder / "events.db"
        store = EventStore(path)
        self.ids = []
        for number in range(5):
            told = record_of(number, '<script>alert("x")</script>' if number else "gate")
            store.add(told, [(0.0, 0.1), (0.1, 0.9)])
            self.ids.append(told["id"])
        store.review(self.ids[0], Verdict("false", "other", "<b>note</b>"))
        store.close()
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamdet", "review", "--store", path, "--web",
             f"127.0.0.1:{self.port}"], stderr=subprocess.PIPE,
        )  # fmt: skip
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        wait_for(self.answers)

    def answers(self) -> bool:
        try:
            return self.http.get("/").status_code == 200
        except httpx.TransportError:
            return False

    def judge_any(self, said):
        return self.http.post(f"/api/events/{self.ids[1]}/verdict", json=said, headers=SAID)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    made = Alone(tmp_path_factory.mktemp("alone"))
    yield made
    made.http.close()
    made.process.send_signal(signal.SIGINT)
    _, err = made.process.communicate(timeout=20)
    assert b"Traceback" not in err


def test_a_store_has_a_page_without_a_daemon(alone):
    assert "No source is heard here" in alone.http.get("/").text
    assert alone.judge_any({"verdict": "unsure"}).status_code == 200
    assert len(alone.http.get("/api/events", params={"limit": 3}).json()) == 3


def test_nothing_from_outside_becomes_markup(alone):
    for path in (
        "/",
        "/events",
        f"/events/{alone.ids[0]}",
        f"/events/{alone.ids[1]}",
        "/precision",
    ):
        text = alone.http.get(path).text
        assert "<script>alert" not in text
        assert "<b>note" not in text
    assert "&lt;script&gt;alert" in alone.http.get("/events").text


def test_every_answer_says_what_a_browser_may_do_with_it(alone):
    for path in ("/", "/static/page.js", "/api/events", "/nothing"):
        headers = alone.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    text = alone.http.get("/events").text
    assert not re.search(r"<script>|\son\w+=|style=", text)
    assert set(re.findall(r'(?:src|href)="([^"#?]*)', text)) <= {
        *(f"/events/{i}" for i in alone.ids), "/", "/events", "/day", "/precision",
        "/static/icon.svg", "/static/page.css", "/static/page.js", "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["/static/../page.py", "/static/..%2f..%2fpage.py", "/static/%2e%2e/app.py",
     "/static//etc/passwd",
     "/api/events/..%2f..%2fetc%2fpasswd/clip", "/api/events/../../etc/passwd/clip",
     "/events/..", "/day/..%2f..", "/day/99999-01-01", "/api/events/x/clip", "/%00", "/events/%00",
     "/api/events?since=never", "/events?verdict=perhaps", "/api/events?min_score=1e9"],
)  # fmt: skip
def test_no_path_from_outside_reaches_the_disk(alone, path):
    connection = http.client.HTTPConnection("127.0.0.1", alone.port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status in (400, 404), path
    assert b"root:" not in answer.read()
    connection.close()


def test_odd_queries_do_no_harm(alone):
    for query in ("before=x", "before=1_2", "after=9999999999_1", "page=-1", "page=9999999",
                  "days=0", "limit=%C2%B2", "threshold=nan", "source=%27%3B--",
                  "since=2026-11-22T19:54"):  # fmt: skip
        for path in ("/", "/events", "/precision", "/api/events"):
            assert alone.http.get(f"{path}?{query}").status_code == 200, (path, query)


def test_another_page_can_not_make_a_browser_change_anything(alone):
    path = f"/api/events/{alone.ids[1]}/verdict"
    said = {"verdict": "true"}
    own = f"http://127.0.0.1:{alone.port}"
    foreign = alone.http.post(path, json=said, headers={**SAID, "Origin": "http://evil.example"})
    assert foreign.status_code == 403
    odd = alone.http.post(path, json=said, headers={**SAID, "Origin": "http://[evil"})
    assert odd.status_code == 403
    null = alone.http.post(path, json=said, headers={**SAID, "Origin": "null"})
    assert null.status_code == 403
    assert alone.http.post(path, json=said).status_code == 403  # a plain form has no such header
    text = {**SAID, "Content-Type": "text/plain"}
    assert alone.http.post(path, content=json.dumps(said), headers=text).status_code == 415
    assert alone.http.post(path, json=said, headers={**SAID, "Origin": own}).status_code == 200
    rebound = alone.http.get("/events", headers={"Host": f"evil.example:{alone.port}"})
    assert rebound.status_code == 421
    assert alone.http.request("DELETE", f"/api/events/{alone.ids[1]}/clip").status_code == 403


def test_a_body_of_a_hundred_megabytes_is_refused_unread(alone):
    def sent(headers: str, body_bytes: int) -> tuple[bytes, int]:
        with socket.create_connection(("127.0.0.1", alone.port), timeout=10) as to:
            lines = (f"POST /api/events/{alone.ids[1]}/verdict HTTP/1.1", "Host: 127.0.0.1",
                     "X-Streamdet: 1", "Content-Type: application/json", headers)  # fmt: skip
            to.sendall("\r\n".join((*lines, "", "")).encode())
            passed, block = 0, b"x" * 65_536
            frame = f"{len(block):x}\r\n".encode() + block + b"\r\n"
            with contextlib.suppress(OSError):
                while passed < body_bytes:
                    to.sendall(frame if "chunked" in headers else block)
                    passed += len(block)
            try:
                return to.recv(200), passed
            except OSError:
                return b"", passed

    answer, passed = sent(f"Content-Length: {100 * 2**20}", 100 * 2**20)
    assert passed < 100 * 2**20 or b" 413 " in answer
    answer, passed = sent("Transfer-Encoding: chunked", 100 * 2**20)
    assert passed < 100 * 2**20 or b" 413 " in answer
    small = alone.http.post(
        f"/api/events/{alone.ids[1]}/verdict", headers=SAID | {"Content-Type": "application/json"},
        content=b'{"verdict": "true", "note": "' + b"x" * 20_000 + b'"}',
    )  # fmt: skip
    assert small.status_code == 413
    assert alone.answers()


def test_beyond_loopback_a_token_is_wanted_and_a_session_follows_it(page, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("a long and secret token\n")
    shown = page(f'token_file = "{secret}"')
    http = shown.http
    assert http.get("/events", headers={"Accept": "text/html"}).headers["location"] == "/login"
    for path in ("/api/events", "/events", "/api/stream", "/day"):
        assert http.get(path).status_code == 401
        wrong = {"Authorization": "Bearer a long and secret tokeN"}
        assert http.get(path, headers=wrong).status_code == 401
    right = {"Authorization": "Bearer a long and secret token"}
    wait_for(lambda: http.get("/api/events", headers=right).status_code == 200, 70)
    assert http.get("/login").status_code == 200
    assert http.get("/static/page.css").status_code == 200
    for _ in range(12):
        last = http.post("/login", data={"token": "guess"}).status_code
    assert last == 429
    assert "secret" not in shown.ear.err.read_text()


def test_a_login_opens_the_page_until_the_token_is_another(daemon, rapid, tmp_path):
    port, secret = free_port(), tmp_path / "token"
    secret.write_text("first token\n")
    table = f'[web]\naddress = "127.0.0.1:{port}"\ntoken_file = "{secret}"\n'
    text = trial(tmp_path, rapid).replace("[[sources]]", f"{table}[[sources]]", 1)
    ear = daemon(text)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        answer = http.post("/login", data={"token": "first token"})
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "first" not in cookie
        assert http.get("/events").status_code == 200
        foreign = {"Origin": "http://evil.example"}
        assert http.post("/login", data={"token": "x"}, headers=foreign).status_code == 403
        forged = f"streamdet_session={int(time.time()) + 9**9}.{'0' * 64}"
        alone = httpx.get(f"http://127.0.0.1:{port}/api/events", headers={"Cookie": forged})
        assert alone.status_code == 401
        assert ear.stop() == 0
        again = daemon(text)
        assert http.get("/api/events").status_code == 200
        assert again.stop() == 0
        secret.write_text("second token\n")
        daemon(text)
        assert http.get("/api/events").status_code == 401


def test_a_page_beyond_loopback_without_a_token_is_refused(tmp_path, rapid):
    from conftest import streamdet

    done = streamdet("listen", "--file", rapid, "--store", tmp_path / "e.db", "--web", "0.0.0.0:9")
    assert done.returncode == 2
    assert b"web: other machines can reach 0.0.0.0:9, so it needs a token" in done.stderr
    done = streamdet("listen", "--file", rapid, "--web", "127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.endswith(b"web: needs a store; add a [store] table or --store\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_thousand_onlookers_are_bounded_and_the_ear_is_not_harmed(page):
    shown = page()
    wait_for(lambda: shown.ear.metric("detections_total", source="trial") >= 1, 30)
    before = shown.ear.metric("dropped_audio_seconds_total", source="trial")
    heard = shown.ear.metric("audio_seconds_total", source="trial")
    began = time.monotonic()
    many, refused = [], 0
    for _ in range(1_000):
        try:
            one = socket.create_connection(("127.0.0.1", shown.port), timeout=2)
            one.sendall(b"GET /api/stream?live=trial HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            many.append(one)
        except OSError:
            refused += 1
    time.sleep(3)
    opened = 0
    for one in many:
        one.settimeout(0.05)
        with contextlib.suppress(OSError):
            opened += b"event: live" in one.recv(65_536)
    assert 0 < opened <= 50
    took = time.monotonic() - began
    grown = shown.ear.metric("audio_seconds_total", source="trial") - heard
    assert grown == pytest.approx(took, abs=2.0)
    assert shown.ear.metric("dropped_audio_seconds_total", source="trial") == before
    assert shown.ear.metric("backlog_seconds", source="trial") < 1.0
    assert shown.ear.ready()
    for one in many:
        one.close()
    wait_for(shown.answers, 20)


def test_what_is_heard_is_streamed_to_whoever_looks_on(page):
    shown = page()
    url = f"http://127.0.0.1:{shown.port}/api/stream?live=trial&live=nobody"
    columns, scores, kinds = 0, [], set()
    began = time.monotonic()
    with httpx.stream("GET", url, timeout=20) as lines:
        for line in lines.iter_lines():
            if line.startswith("event: "):
                kinds.add(line.removeprefix("event: "))
            if line.startswith("data: ") and "columns" in line:
                told = json.loads(line.removeprefix("data: "))
                columns += len(base64.b64decode(told["columns"])) // 64
                scores += told["scores"]
            if time.monotonic() - began > 6:
                break
    assert columns * 0.02 == pytest.approx(6, abs=1.5)
    assert len(scores) * 0.04 == pytest.approx(6, abs=1.5)
    assert max(scores) > 0.6
    assert kinds >= {"live", "event", "clip"}


def test_an_address_in_use_is_one_line_and_code_2(tmp_path, rapid):
    from conftest import streamdet

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = streamdet("listen", "--file", rapid, "--metrics", "off", "--store",
                         tmp_path / "e.db", "--web", address)  # fmt: skip
    assert done.returncode == 2
    assert address in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_without_the_extra_it_says_what_to_install(tmp_path, rapid):
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


def test_the_page_is_served_by_tls_with_a_secure_cookie(page, tmp_path):
    need("openssl")
    cert, key, secret = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "token"
    secret.write_text("a token\n")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    shown = page(f'token_file = "{secret}"\ntls_cert = "{cert}"\ntls_key = "{key}"')
    context = ssl.create_default_context(cafile=str(cert))
    with httpx.Client(base_url=f"https://127.0.0.1:{shown.port}", verify=context) as client:
        answer = client.post("/login", data={"token": "a token"})
        assert answer.status_code == 303
        assert "Secure" in answer.headers["set-cookie"]
        assert client.get("/events").status_code == 200
