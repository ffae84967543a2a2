"""The review page and what it refuses: foreign pages, paths, bodies and missing tokens."""

import contextlib
import http.client
import json
import re
import socket
import time

import httpx
import pytest
from conftest import streamdet, wait_for
from daemons import free_port
from review_pages import HEADERS
from test_evidence import trial


def test_text_from_outside_is_escaped(store_page):
    for path in (
        "/",
        "/events",
        f"/events/{store_page.ids[0]}",
        f"/events/{store_page.ids[1]}",
        "/precision",
        "/thresholds",
    ):
        text = store_page.http.get(path).text
        assert "<script>alert" not in text
        assert "<b>note" not in text
    assert "&lt;script&gt;alert" in store_page.http.get("/events").text


def test_every_response_has_security_headers(store_page):
    for path in ("/", "/static/page.js", "/api/events", "/nothing"):
        headers = store_page.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    text = store_page.http.get("/events").text
    assert not re.search(r"<script>|\son\w+=|style=", text)
    assert set(re.findall(r'(?:src|href)="([^"#?]*)', text)) <= {
        *(f"/events/{i}" for i in store_page.ids), "/", "/events", "/day", "/precision",
        "/thresholds",
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
def test_no_path_from_outside_reaches_the_disk(store_page, path):
    connection = http.client.HTTPConnection("127.0.0.1", store_page.port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status in (400, 404), path
    assert b"root:" not in answer.read()
    connection.close()


def test_another_page_can_not_make_a_browser_change_anything(store_page):
    path = f"/api/events/{store_page.ids[1]}/verdict"
    body = {"verdict": "true"}
    own = f"http://127.0.0.1:{store_page.port}"
    post, delete = store_page.http.post, store_page.http.delete
    for origin in ("http://evil.example", "http://[evil", "null"):
        assert post(path, json=body, headers={**HEADERS, "Origin": origin}).status_code == 403
    from_a_form = post(path, json=body)
    assert from_a_form.status_code == 403
    assert "The header x-streamdet is missing" in from_a_form.text
    text = {**HEADERS, "Content-Type": "text/plain"}
    assert post(path, content=json.dumps(body), headers=text).status_code == 415
    assert post(path, json=body, headers={**HEADERS, "Origin": own}).status_code == 200
    assert delete(f"/api/events/{store_page.ids[1]}/clip").status_code == 403


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("evil.example", "evil.example"),
        ("evil.example:9", "evil.example"),
        ("x" * 500, "x" * 100),
        ("a\u0085", "a\u00e2\ufffd"),
        ("", ""),
    ],
)
def test_a_foreign_host_name_is_refused_and_the_option_is_named(store_page, host, shown):
    with socket.create_connection(("127.0.0.1", store_page.port), timeout=10) as connection:
        request = f"GET /events HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        text = response.read().decode()
    assert response.status == 421
    assert text == f'This page does not answer to the host name "{shown}". Add it to web.hosts.'


def test_a_body_of_a_hundred_megabytes_is_refused_unread(store_page):
    path = f"/api/events/{store_page.ids[1]}/verdict"

    def send(header: str, body_bytes: int) -> tuple[bytes, int]:
        """Send a body; the start of the response, and the bytes that were sent."""
        with socket.create_connection(("127.0.0.1", store_page.port), timeout=10) as connection:
            lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "X-Streamdet: 1",
                     "Content-Type: application/json", header)  # fmt: skip
            connection.sendall("\r\n".join((*lines, "", "")).encode())
            sent, block = 0, b"x" * 65_536
            frame = f"{len(block):x}\r\n".encode() + block + b"\r\n"
            with contextlib.suppress(OSError):
                while sent < body_bytes:
                    connection.sendall(frame if "chunked" in header else block)
                    sent += len(block)
            try:
                return connection.recv(200), sent
            except OSError:
                return b"", sent

    for header in (f"Content-Length: {100 * 2**20}", "Transfer-Encoding: chunked"):
        response, sent = send(header, 100 * 2**20)
        assert sent < 100 * 2**20 or b" 413 " in response
    body = b'{"verdict": "true", "note": "' + b"x" * 20_000 + b'"}'
    for content in (body, iter([body[:9_000], body[9_000:]])):  # with its length, and in chunks
        headers = HEADERS | {"Content-Type": "application/json"}
        refused = store_page.http.post(path, headers=headers, content=content)
        assert refused.status_code == 413
        assert "The limit is 16,384 bytes." in refused.text
    assert store_page.answers()


def test_with_a_token_every_page_needs_it(open_page, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("a long and secret token\n")
    page = open_page(f'token_file = "{secret}"')
    client = page.http
    assert client.get("/events", headers={"Accept": "text/html"}).headers["location"] == "/login"
    for path in ("/api/events", "/events", "/api/stream", "/day"):
        assert client.get(path).status_code == 401
        wrong = {"Authorization": "Bearer a long and secret tokeN"}
        assert client.get(path, headers=wrong).status_code == 401
    right = {"Authorization": "Bearer a long and secret token"}
    wait_for(lambda: client.get("/api/events", headers=right).status_code == 200, 70)
    assert client.get("/login").status_code == 200
    assert client.get("/static/page.css").status_code == 200
    statuses = [client.post("/login", data={"token": "guess"}).status_code for _ in range(12)]
    assert statuses[-1] == 429
    assert "secret" not in page.daemon.err.read_text()


def test_a_login_opens_the_page_until_the_token_is_another(daemon, rapid, tmp_path):
    port, secret = free_port(), tmp_path / "token"
    secret.write_text("first token\n")
    table = f'[web]\naddress = "127.0.0.1:{port}"\ntoken_file = "{secret}"\n'
    text = trial(tmp_path, rapid).replace("[[sources]]", f"{table}[[sources]]", 1)
    first = daemon(text)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        answer = client.post("/login", data={"token": "first token"})
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "first" not in cookie
        assert client.get("/events").status_code == 200
        foreign = {"Origin": "http://evil.example"}
        assert client.post("/login", data={"token": "x"}, headers=foreign).status_code == 403
        forged = f"streamdet_session={int(time.time()) + 9**9}.{'0' * 64}"
        refused = httpx.get(f"http://127.0.0.1:{port}/api/events", headers={"Cookie": forged})
        assert refused.status_code == 401
        assert first.stop() == 0
        second = daemon(text)
        assert client.get("/api/events").status_code == 200
        assert second.stop() == 0
        secret.write_text("second token\n")
        daemon(text)
        assert client.get("/api/events").status_code == 401


def test_a_page_beyond_loopback_without_a_token_is_refused(tmp_path, rapid):
    done = streamdet("listen", "--file", rapid, "--store", tmp_path / "e.db", "--web", "0.0.0.0:9")
    assert done.returncode == 2
    assert b"web: other machines can reach 0.0.0.0:9, so it needs a token" in done.stderr
    done = streamdet("listen", "--file", rapid, "--web", "127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.endswith(b"web: needs a store; add a [store] table or --store\n")
    assert len(done.stderr.splitlines()) == 1
