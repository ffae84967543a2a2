"""The review page over HTTP: its pages, its API and its stream."""

import base64
import json
import threading
import time

import httpx
import pytest
from conftest import wait_for
from review_pages import HEADERS

from streamdet.daemon.supervision import SourceState
from streamdet.web.charts import format_score
from streamdet.web.views import STATE_WORDS


def test_every_page_shows_its_events_or_says_that_there_are_none(open_page):
    page = open_page()
    for path, words in (
        ("/", "Newest events"), ("/events", "Events"), ("/day", "UTC"), ("/precision", "Precision"),
        ("/thresholds", "fixed: no budget is set"), ("/thresholds?source=x", "No source or event"),
        ("/day/2020-01-01", "No events on this day"), ("/events?verdict=true", "No events match"),
        ("/precision?source=nobody&days=7", "No event of the last 7 days has the verdict"),
    ):  # fmt: skip
        answer = page.http.get(path)
        assert answer.status_code == 200, path
        assert words in answer.text, path
    assert "receiving audio" in page.http.get("/").text
    wait_for(lambda: any(e["clip"] for e in page.events()), 30)
    event = next(e for e in page.events() if e["clip"])
    text = page.http.get(f"/events/{event['id']}").text
    assert "streamdet-third/1" in text
    assert f"<strong>{format_score(event['score'])}</strong>" in text
    assert event["id"] in page.http.get("/events").text
    assert page.http.get(f"/events/{event['id']}/card").text.lstrip().startswith("<article")
    picture = page.http.get(f"/api/events/{event['id']}/picture").json()
    assert picture["bands"] == 64
    record = page.http.get(f"/api/events/{event['id']}").json()
    assert record["curve"]
    assert record["reviews"] == []


def test_a_clip_is_played_whole_or_in_part_and_can_be_deleted(open_page):
    page = open_page()
    wait_for(lambda: any(e["clip"] for e in page.events()), 30)
    event = next(e["id"] for e in page.events() if e["clip"])
    path = f"/api/events/{event}/clip"
    whole = page.http.get(path)
    assert whole.headers["content-type"] == "audio/flac"
    assert whole.content.startswith(b"fLaC")
    part = page.http.get(path, headers={"Range": "bytes=4-7"})
    assert part.status_code == 206
    assert part.content == whole.content[4:8]
    assert page.http.delete(path, headers=HEADERS).status_code == 204
    assert page.http.get(path).status_code == 404
    assert event not in json.dumps([e for e in page.events() if e["clip"]])
    assert event in json.dumps(page.events(limit=1000))


def test_a_verdict_is_counted_can_be_changed_and_reaches_other_pages(open_page):
    page = open_page()
    wait_for(lambda: page.events(), 30)
    event = page.events()[0]["id"]
    lines: list[str] = []

    def read_stream() -> None:
        url = f"http://127.0.0.1:{page.port}/api/stream"
        with httpx.stream("GET", url, timeout=30) as response:
            lines.extend(line for _, line in zip(range(60), response.iter_lines(), strict=False))

    viewer = threading.Thread(target=read_stream, daemon=True)
    viewer.start()
    time.sleep(0.5)
    assert page.review(event, verdict="false", cause="thunder", note="rain too").status_code == 200
    labels = {"source": "trial", "cause": "thunder"}
    wait_for(lambda: page.daemon.metric("false_positives_total", **labels) == 1, 5)
    assert page.review(event, verdict="true", reviewer="ann").json()["verdict"] == "true"
    wait_for(lambda: page.daemon.metric("reviews_total", source="trial", verdict="true") == 1, 5)
    reviews = page.http.get(f"/api/events/{event}").json()["reviews"]
    assert [r["verdict"] for r in reviews] == ["false", "true"]
    assert reviews[0]["note"] == "rain too"
    assert [e["id"] for e in page.events(verdict="true")] == [event]
    assert page.daemon.stop() == 0
    viewer.join(10)
    assert [line for line in lines if event in line and '"cause":"thunder"' in line]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"verdict": "maybe"}, 400), ({"verdict": "true", "cause": "door"}, 400),
        ({"verdict": "false", "cause": "ghost"}, 400), ({"verdict": "true", "note": 3}, 400),
        ({"verdict": "true", "x": "y"}, 400), ([1], 400), ("true", 400),
        ({"verdict": "true", "note": "x" * 3_000}, 400),
    ],
)  # fmt: skip
def test_an_invalid_verdict_is_refused_with_an_error_message(store_page, body, status):
    answer = store_page.review(body)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_store_has_a_page_without_a_daemon(store_page):
    assert "This page shows stored events only" in store_page.http.get("/").text
    assert store_page.review({"verdict": "unsure"}).status_code == 200
    assert len(store_page.http.get("/api/events", params={"limit": 3}).json()) == 3


def test_invalid_query_values_are_ignored(store_page):
    for query in ("before=x", "before=1_2", "after=9999999999_1", "page=-1", "page=9999999",
                  "days=0", "limit=%C2%B2", "threshold=nan", "source=%27%3B--",
                  "since=2026-11-22T19:54"):  # fmt: skip
        for path in ("/", "/events", "/precision", "/thresholds", "/api/events"):
            assert store_page.http.get(f"{path}?{query}").status_code == 200, (path, query)


@pytest.mark.parametrize(
    ("text", "status"), [("0", 200), ("0.5", 200), ("1", 200), ("1.000", 200), ("1.9", 400),
                         ("2", 400), ("-0", 400), (".5", 400)],
)  # fmt: skip
def test_a_score_of_a_filter_is_a_number_from_0_to_1(store_page, text, status):
    assert store_page.http.get("/events", params={"min_score": text}).status_code == status


def test_audio_scores_and_events_are_streamed_to_viewers(open_page):
    page = open_page()
    url = f"http://127.0.0.1:{page.port}/api/stream?live=trial&live=nobody"
    columns, scores, kinds = 0, [], set()
    began = time.monotonic()
    with httpx.stream("GET", url, timeout=20) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                kinds.add(line.removeprefix("event: "))
            if line.startswith("data: ") and "columns" in line:
                update = json.loads(line.removeprefix("data: "))
                assert update["state"] == "hearing"
                columns += len(base64.b64decode(update["columns"])) // 64
                scores += update["scores"]
            if time.monotonic() - began > 6:
                break
    assert columns * 0.02 == pytest.approx(6, abs=1.5)
    assert len(scores) * 0.04 == pytest.approx(6, abs=1.5)
    assert max(scores) > 0.6
    assert kinds >= {"live", "event", "clip"}


def test_every_state_of_a_source_has_words():
    assert set(STATE_WORDS) == {str(state) for state in SourceState}


def test_a_disconnected_source_is_shown_as_such_and_streamed_without_audio(open_page):
    source = 'loop = true\n[[sources]]\nname = "gone"\nfile = "/nowhere.wav"\nrequired = false'
    page = open_page(source=source)
    wait_for(lambda: "disconnected" in page.http.get("/").text)
    url = f"http://127.0.0.1:{page.port}/api/stream?live=gone"
    with httpx.stream("GET", url, timeout=20) as response:
        data = (line for line in response.iter_lines() if '"source":"gone","state"' in line)
        update = json.loads(next(data).removeprefix("data: "))
    assert (update["state"], update["columns"], update["scores"]) == ("absent", "", [])
