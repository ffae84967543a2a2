"""The review page in a real browser, over a real sound server, scraped by a real Prometheus."""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from conftest import need, wait_for
from daemons import free_port
from review_pages import HEADERS
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait
from test_evidence import trial
from test_listen import Prometheus, sound, sound_server  # noqa: F401 - fixtures
from test_store import record_of

from streamdet import demo
from streamdet.model.spectrogram import compute_spectrogram
from streamdet.store.store import EventStore
from streamdet.web.live import MAX_VIEWERS

AXE = "axe-core@4.11.0"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required", "--hide-scrollbars",
)  # fmt: skip


def browser(environment=None, width: int = 1100, height: int = 900):
    need("chromium", "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--window-size={width},{height}",
                 f"--user-data-dir={tempfile.mkdtemp()}"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service("/usr/bin/chromedriver", env=environment)
    return webdriver.Chrome(options=options, service=service)


@pytest.fixture
def chromium():
    driver = browser()
    yield driver
    errors = [line for line in driver.get_log("browser") if line["level"] == "SEVERE"]
    driver.quit()
    # the page requests a card again if the store does not have it yet, and reconnects a stream
    # when the daemon was stopped
    expected = ("/card", "/api/stream")
    assert not [c for c in errors if not any(e in c["message"] for e in expected)], errors


def cards(driver) -> list:
    return driver.find_elements(By.CSS_SELECTOR, "[data-list] [data-event]")


def press(driver, key: str) -> None:
    ActionChains(driver).send_keys(key).perform()


def test_a_shot_is_shown_played_reviewed_and_counted(
    chromium, daemon, sound, wav, tmp_path  # noqa: F811
):  # fmt: skip
    need("prometheus", "paplay")
    port = free_port()
    text = trial(tmp_path, wav).replace(
        f'name = "trial"\nfile = "{wav}"\nloop = true',
        f'name = "yard"\ndevice = "default"\n[web]\naddress = "127.0.0.1:{port}"',
    )
    first = daemon(text, env=sound)
    base = f"http://127.0.0.1:{port}"
    with Prometheus(tmp_path, first.port) as prometheus:
        chromium.get(base + "/")
        assert not cards(chromium)
        wait_for(lambda: "dBFS" in chromium.find_element(By.CSS_SELECTOR, "[data-level-text]").text)
        began = time.time()
        playing = subprocess.Popen(["paplay", "--device=virt", str(wav)], env=sound)
        wait_for(lambda: cards(chromium), 30)
        delay_s = time.time() - began - demo.ONSETS_S[0]
        assert delay_s < 2.0, f"shown {delay_s:.2f} s after the onset"
        playing.wait(60)
        wait_for(lambda: len(cards(chromium)) == 3)
        # the clip and the spectrogram follow, without a reload
        wait_for(lambda: len(chromium.find_elements(By.CSS_SELECTOR, "[data-clip]")) == 3)
        wait_for(lambda: chromium.find_elements(By.CSS_SELECTOR, ".card canvas[data-drawn]"))
        scores = chromium.find_element(By.CSS_SELECTOR, "[data-score]").text
        assert 0.0 <= float(scores) <= 1.0

        chromium.find_element(By.CSS_SELECTOR, ".card h3 a").click()
        assert "/events/" in chromium.current_url
        event = chromium.current_url.rsplit("/", 1)[1]
        press(chromium, " ")
        sound_of = "return document.getElementById('player').currentTime"
        wait_for(lambda: chromium.execute_script(sound_of) > 0.2)
        press(chromium, " ")
        assert chromium.execute_script("return document.getElementById('player').paused")
        press(chromium, "f")
        badge = chromium.find_element(By.CSS_SELECTOR, "[data-badge]")
        wait_for(lambda: badge.text == "false: fireworks")
        press(chromium, "4")
        wait_for(lambda: badge.text == "false: thunder")
        query = 'streamdet_false_positives_total{source="yard",cause="thunder"}'
        wait_for(lambda: prometheus.query(query) == 1.0)
        assert first.stop() == 0
        second = daemon(text, env=sound)
        assert second.metric("false_positives_total", source="yard", cause="thunder") == 1
    chromium.get(f"{base}/events/{event}")
    assert chromium.find_element(By.CSS_SELECTOR, "[data-badge]").text == "false: thunder"
    history = [li.text for li in chromium.find_elements(By.CSS_SELECTOR, ".history li")]
    assert len(history) == 2


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The page of a store with events of two sources, reviewed and not, with clips."""
    import numpy as np

    from streamdet.store.clips import ClipFolder
    from streamdet.store.store import ClipInfo
    from streamdet.store.verdict import Verdict

    folder = tmp_path_factory.mktemp("many")
    store, clips = EventStore(folder / "events.db"), ClipFolder(folder / "events-clips")
    scene = demo.scene()
    now = time.time()
    for number in range(60):
        record = record_of(number, "gate" if number % 3 else "yard", 0.6 + number % 9 * 0.045,
                         now - 3_000 * number)  # fmt: skip
        store.add(record, [(t / 25 - 0.5, float(np.exp(-abs(t - 15) / 6))) for t in range(40)])
        first = round((demo.ONSETS_S[number % 3] - 2.0) * 16_000)
        sound_of = scene[first : first + 80_000]
        size = clips.write(record, sound_of, 16_000)
        info = ClipInfo(size, 2.0, 5.0, redacted=number == 4)
        store.attach(record["id"], info, compute_spectrogram(sound_of, 16_000, 2.0))
        if number % 4 == 1:
            store.review(record["id"], Verdict("false", "door", "the barn's door", "ann"))
        elif number % 4 == 2:
            store.review(record["id"], Verdict("true", reviewer="ann"))
    store.close()
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "streamdet", "review", "--store", folder / "events.db", "--web",
         f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/events").status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, 60)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


VIEWS = (
    "/",
    "/events",
    "/events?verdict=false",
    "/day",
    "/precision",
    "/thresholds",
    "/login",
    "/events?source=x",
)


def test_a_list_is_reviewed_with_the_keyboard_alone(chromium, many):
    chromium.get(many + "/events?verdict=none")
    all_cards = cards(chromium)
    for _ in range(3):
        press(chromium, "j")
    press(chromium, "k")
    focused = chromium.switch_to.active_element
    assert focused.get_attribute("data-event") == all_cards[1].get_attribute("data-event")
    press(chromium, "t")
    wait_for(lambda: focused.get_attribute("data-verdict") == "true")
    press(chromium, "u")
    wait_for(lambda: focused.get_attribute("data-verdict") == "unsure")
    pressed = focused.find_elements(By.CSS_SELECTOR, "[aria-pressed=true]")
    assert [b.text for b in pressed] == ["Unsure"]
    press(chromium, " ")
    wait_for(lambda: chromium.execute_script("return !document.getElementById('player').paused"))
    press(chromium, "?")
    assert chromium.find_element(By.ID, "shortcuts").is_displayed()
    press(chromium, Keys.ESCAPE)
    field = chromium.find_element(By.CSS_SELECTOR, "input[name=min_score]")
    field.send_keys("0.9t")  # a letter typed into a field is not a shortcut
    assert focused.get_attribute("data-verdict") == "unsure"


def follow(driver, selector: str) -> None:
    """Click a link or a button that opens another page, and wait for that page."""
    link = driver.find_element(By.CSS_SELECTOR, selector)
    link.click()
    WebDriverWait(driver, 20).until(staleness_of(link))
    wait_for(lambda: driver.execute_script("return document.readyState") == "complete")


def test_filters_and_page_links_show_the_right_events(chromium, many):
    chromium.get(many + "/events")
    total = int(chromium.find_element(By.CSS_SELECTOR, ".count strong").text)
    seen = {card.get_attribute("data-event") for card in cards(chromium)}
    while chromium.find_elements(By.CSS_SELECTOR, "a[rel=next]"):
        follow(chromium, "a[rel=next]")
        seen |= {card.get_attribute("data-event") for card in cards(chromium)}
    assert len(seen) == total
    chromium.find_element(By.CSS_SELECTOR, "select[name=source]").send_keys("yard")
    follow(chromium, ".filters button")
    assert {c.find_element(By.CLASS_NAME, "source").text for c in cards(chromium)} == {"yard"}
    chromium.get(many + "/day")
    follow(chromium, ".timeline a")
    assert 0 < len(cards(chromium)) < 10


def texts(driver, names: str) -> list[str]:
    """What the slider of a source's threshold shows."""
    return [
        driver.find_element(By.CSS_SELECTOR, f"[data-other-{name}]").text for name in names.split()
    ]


def test_the_slider_counts_the_stored_events_above_another_threshold(chromium, many):
    chromium.get(many + "/thresholds?source=yard")
    slider = chromium.find_element(By.CSS_SELECTOR, "[data-steps]")
    events = httpx.get(many + "/api/events?source=yard&limit=1000").json()
    scores = [event["score"] for event in events]
    assert texts(chromium, "score events more") == ["0.50", str(len(scores)), ""]
    for _ in range(16):
        slider.send_keys(Keys.ARROW_RIGHT)
    score, *counts = texts(chromium, "score events true false")
    assert score == "0.83"
    above = [event for event in events if event["score"] >= 0.832]
    verdicts = [event["review"]["verdict"] for event in above if event["review"]]
    assert counts == [str(n) for n in (len(above), verdicts.count("true"), verdicts.count("false"))]
    assert 0 < len(above) < len(scores)
    slider.send_keys(Keys.HOME)
    assert "A lower threshold would have found more." in texts(chromium, "more")
    chromium.get(many + "/thresholds?source=nobody")
    assert "No source or event has this name" in chromium.find_element(By.ID, "main").text


@pytest.fixture
def budget_page(budget_daemon) -> str:
    """The page of a daemon whose source "gate" has a budget of 1/day and a background."""
    return f"http://127.0.0.1:{budget_daemon.port}/thresholds"


def test_the_slider_starts_at_the_threshold_in_force(chromium, budget_page):
    chromium.get(budget_page + "?source=gate")
    (record,) = httpx.get(budget_page.replace("/thr", "/api/thr") + "?source=gate").json()
    slider = chromium.find_element(By.CSS_SELECTOR, "[data-steps]")
    assert float(texts(chromium, "score")[0]) == pytest.approx(record["threshold"], abs=0.005)
    expected = float(texts(chromium, "expected")[0])
    assert expected == pytest.approx(record["expected_per_day"], rel=0.06)
    line = chromium.find_element(By.CSS_SELECTOR, ".rates line[data-other]")
    # at first it would lie on the line of the threshold in force
    assert line.get_attribute("visibility") == "hidden"
    for _ in range(20):
        slider.send_keys(Keys.ARROW_LEFT)
    assert line.get_attribute("visibility") == "visible"
    assert float(texts(chromium, "expected")[0]) > 2.0 * expected
    assert "false alarms a day" in (slider.get_attribute("aria-valuetext") or "")
    threshold = chromium.find_element(By.CSS_SELECTOR, ".rates line.threshold")
    assert line.location["x"] < threshold.location["x"]
    # the threshold and its expected rate lie on the estimate
    dot = chromium.find_element(By.CSS_SELECTOR, ".rates circle.dot")
    assert dot.location["x"] < threshold.location["x"] < dot.location["x"] + dot.size["width"]
    row = chromium.find_element(By.CSS_SELECTOR, ".in-force").text
    assert row.startswith("1/day (in force)")


def test_a_page_that_gets_no_stream_says_so_and_connects_later(chromium, many):
    with ExitStack() as viewers:
        for _ in range(MAX_VIEWERS):
            viewers.enter_context(httpx.stream("GET", f"{many}/api/stream"))
        chromium.get(many + "/events")
        message = chromium.find_element(By.ID, "message")
        wait_for(lambda: "The next try is in 10 seconds" in message.text)
    card = cards(chromium)[0]
    path = f"/api/events/{card.get_attribute('data-event')}/verdict"

    def follows() -> bool:
        httpx.post(many + path, json={"verdict": "unsure"}, headers=HEADERS)
        return card.get_attribute("data-verdict") == "unsure"

    wait_for(follows)


@pytest.fixture(scope="module")
def axe(tmp_path_factory) -> str:
    need("npm")
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True)
    (packed,) = folder.glob("*.tgz")
    subprocess.run(["tar", "xf", packed.name, "package/axe.min.js"], cwd=folder, check=True)
    return (folder / "package" / "axe.min.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390])
def test_every_page_passes_the_accessibility_checks(chromium, many, axe, scheme, width):
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    chromium.set_window_size(width, 900)
    chromium.get(many + "/events")
    one = cards(chromium)[0].get_attribute("data-event")
    for view in (*VIEWS, f"/events/{one}"):
        check_accessibility(chromium, axe, many + view, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_of_thresholds_pass_the_accessibility_checks(chromium, budget_page, axe, scheme):
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    for width in (1100, 390):
        chromium.set_window_size(width, 900)
        check_accessibility(chromium, axe, budget_page, width)


def check_accessibility(driver, axe: str, address: str, width: int) -> None:
    driver.get(address)
    driver.execute_script(axe)
    result = driver.execute_async_script(
        "const done = arguments[0]; axe.run().then(r => done(JSON.stringify([r.passes.length,"
        " r.violations.map(v => [v.id, v.impact, v.nodes.length, v.nodes[0].html])])))"
    )
    passed, violations = json.loads(result)
    assert passed > 10
    serious = [v for v in violations if v[1] in ("serious", "critical")]
    assert serious == [], (address, serious)
    overflow = "return document.documentElement.scrollWidth - window.innerWidth"
    assert driver.execute_script(overflow) <= 0, f"{address} is wider than {width}"


def test_pictures_of_every_view_are_in_the_docs():
    pictures = Path(__file__).parent.parent / "docs" / "pictures"
    for view in ("live", "events", "event", "day", "precision", "thresholds"):
        for form in ("light", "dark", "phone"):
            assert (pictures / f"{view}-{form}.png").stat().st_size > 5_000
