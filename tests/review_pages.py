"""Review pages for the tests: one of a daemon, one of a store alone, each with a client."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from conftest import wait_for
from daemons import free_port
from test_evidence import trial
from test_store import record_of

from streamdet.daemon.backgrounds import BackgroundFiles
from streamdet.detection.background import sigmoid
from streamdet.detection.false_alarm_rate import DAY_S
from streamdet.detection.frames import FrameGrid
from streamdet.model.bundle import load
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget
from streamdet.store.store import EventStore
from streamdet.store.verdict import Verdict

HEADERS = {"X-Streamdet": "1"}


class DaemonPage:
    """A daemon with a review page, and an HTTP client of the page."""

    def __init__(self, daemon, port: int, **options) -> None:
        self.daemon, self.port = daemon, port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, **options)

    def events(self, **query) -> list[dict]:
        return self.http.get("/api/events", params=query).json()

    def answers(self) -> bool:
        try:
            return self.http.get("/events").status_code == 200
        except httpx.TransportError:
            return False

    def review(self, event_id: str, **fields):
        path = f"/api/events/{event_id}/verdict"
        return self.http.post(path, json=fields, headers=HEADERS)


@pytest.fixture
def open_page(daemon, rapid, tmp_path):
    """Starts a daemon with a page; ``web`` is TOML for the table [web]."""
    pages = []

    def start(web: str = "", **parts) -> DaemonPage:
        port = free_port()
        table = f'[web]\naddress = "127.0.0.1:{port}"\n{web}\n'
        text = trial(tmp_path, rapid, **parts).replace("[[sources]]", f"{table}[[sources]]", 1)
        pages.append(DaemonPage(daemon(text), port))
        return pages[-1]

    yield start
    for page in pages:
        page.http.close()


def save_background(folder: Path, source: str) -> None:
    """Save half an hour of background with 40 sounds that no threshold reports."""
    budget = BudgetThreshold(set_up_budget(load(), 1.0 / DAY_S))
    grid = FrameGrid(16_000, 640, 4, ("gunshot",))
    rng, scores = np.random.default_rng(0), np.full(30 * 1_500, 1e-4, np.float32)
    for at in rng.integers(0, len(scores) // 100, 40) * 100:
        scores[at : at + 5] = min(sigmoid(-4.0 + rng.exponential(1.0)), 0.9 * budget.threshold)
    budget.add(grid, scores, [], event_open=True)
    files = BackgroundFiles(folder, lambda *_: None)
    files.save([(source, budget)])
    files.close()


@pytest.fixture
def budget_daemon(open_page, tmp_path):
    """The page of a daemon with the source "gate", which has a budget of 1/day and a background,
    and the source "trial", which has a fixed threshold."""
    quiet = np.random.default_rng(0).normal(0.0, 1e-3, 16_000)
    soundfile.write(tmp_path / "quiet.wav", quiet, 16_000, subtype="PCM_16")
    save_background(tmp_path / "backgrounds", "gate")
    gate = f'loop = true\n[[sources]]\nname = "gate"\nfile = "{tmp_path}/quiet.wav"\nloop = true\n'
    return open_page(
        source=gate + 'false_alarms = "1/day"',
        clips=f'[background]\nfolder = "{tmp_path}/backgrounds"',
    )


class StorePage:
    """`streamdet review --web` on a store with five events, and an HTTP client of the page."""

    def __init__(self, folder: Path) -> None:
        path = folder / "events.db"
        store = EventStore(path)
        self.ids = []
        for number in range(5):
            record = record_of(number, '<script>alert("x")</script>' if number else "gate")
            store.add(record, [(0.0, 0.1), (0.1, 0.9)])
            self.ids.append(record["id"])
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

    def review(self, body):
        path = f"/api/events/{self.ids[1]}/verdict"
        return self.http.post(path, json=body, headers=HEADERS)


@pytest.fixture(scope="module")
def store_page(tmp_path_factory):
    page = StorePage(tmp_path_factory.mktemp("store_page"))
    yield page
    page.http.close()
    page.process.send_signal(signal.SIGINT)
    _, stderr = page.process.communicate(timeout=20)
    assert b"Traceback" not in stderr
