"""`python -m benchmarks.screenshots`: take the screenshots of the review page in docs/pictures/.

A daemon replays the demo scene in a loop; its store also has 2,000 generated older events. Another
source has a budget of false alarms and an invented background. The views are shown in light and
dark colours and at the width of a phone. Requires the Debian packages chromium and
chromium-driver.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from benchmarks.measure import ROOT
from streamdet import demo
from streamdet.daemon.backgrounds import BackgroundFiles
from streamdet.detection.background import sigmoid
from streamdet.detection.event import Detection, Event, ModelId, event_id
from streamdet.detection.false_alarm_rate import DAY_S
from streamdet.detection.frames import FrameGrid
from streamdet.model.bundle import load
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget
from streamdet.store.store import EventStore
from streamdet.store.verdict import CAUSES, Verdict

PICTURES = ROOT / "docs" / "pictures"
ADDRESS = "127.0.0.1:9478"
FORMS = {"light": (1100, 900), "dark": (1100, 900), "phone": (390, 844)}
MODEL = ModelId("streamdet-third", "1", "5e8c" * 16)


def add_events(store: EventStore, count: int) -> None:
    """Add events of the last weeks, most of them at daytime, two thirds of them reviewed."""
    rng = random.Random(3)
    for number in range(count):
        source = rng.choice(("gate", "gate", "yard", "range"))
        at = time.time() - rng.uniform(0.01, 28) * 86_400
        if 6 < time.gmtime(at).tm_hour < 21 or rng.random() < 0.2:
            is_true = rng.random() < 0.65
            score = 1.0 - rng.betavariate(1.2, 9 if is_true else 5) * 0.9
            score = max(0.61, score)
            labels = {"gunshot": score, "speech": 0.1, "fireworks": rng.random() * 0.5,
                      "impact": rng.random() * 0.3, "ambience": 0.6}  # fmt: skip
            onset, rounds = number * 16_000, rng.choice((1, 1, 1, 2, 3))
            d = Detection("final", onset, onset + 6_000, onset + 9_000, rounds, score, 0.6, -25.0,
                          labels)  # fmt: skip
            identity = event_id(source, MODEL, d.onset, at, 16_000)
            store.add(Event(d, identity, source, 16_000, at, MODEL).record())
            if rng.random() < 0.66:
                cause = None if is_true else rng.choice(CAUSES[:5])
                verdict = Verdict("true" if is_true else "false", cause, None, "ann")
                store.review(identity, verdict)


def add_background(files: BackgroundFiles, hours: int = 12) -> None:
    """Save an invented background of the source "gate": 40 loud sounds an hour, with exponential
    excesses over a logit of -3.5. Those above the threshold are reported."""
    budget = BudgetThreshold(set_up_budget(load(), 1.0 / DAY_S))
    rng, frames = np.random.default_rng(1), 1_500
    grid = FrameGrid(16_000, 640, 4, ("gunshot",))
    for minute in range(60 * hours):
        logits = rng.normal(-8.0, 0.8, frames)
        detections = []
        for at in np.flatnonzero(rng.random(frames - 10) < 40.0 / 60.0 / frames):
            logits[at : at + 8] = -3.5 + rng.exponential(1.1)
            score, first = sigmoid(logits[at]), (minute * frames + int(at)) * grid.frame
            if score > budget.threshold:
                last = first + 8 * grid.frame
                detections.append(
                    Detection("final", first, last, last, 1, score, budget.threshold, -20.0, {})
                )
        scores = (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
        budget.add(grid, scores, detections, event_open=False)
    files.save([("gate", budget)])
    files.close()


def open_browser(width: int, height: int) -> webdriver.Chrome:
    """Start Debian's Chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
                 "--no-first-run", "--disable-background-networking", "--disable-sync",
                 "--disable-component-update", "--hide-scrollbars",
                 f"--window-size={width},{height}",
                 f"--user-data-dir={tempfile.mkdtemp()}"):  # fmt: skip
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def take_screenshots(form: str, width: int, height: int) -> None:
    """Take a screenshot of every view in one form."""
    driver = open_browser(width, height)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if form == "dark" else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": form == "phone"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for view, path in (("events", "/events?source=microphone"), ("day", "/day"),
                       ("precision", "/precision"), ("thresholds", "/thresholds?source=gate"),
                       ("live", "/")):  # fmt: skip
        driver.get(f"http://{ADDRESS}{path}")
        if view == "thresholds":
            driver.find_element(By.CSS_SELECTOR, "[data-steps]").send_keys(15 * Keys.ARROW_LEFT)
            driver.execute_script("document.querySelector('section.threshold').scrollIntoView()")
        time.sleep(14 if view == "live" else 1.5)
        driver.save_screenshot(str(PICTURES / f"{view}-{form}.png"))
        if view == "events":
            driver.find_elements(By.CSS_SELECTOR, ".card[data-clip] h3 a")[0].click()
            time.sleep(1.5)
            driver.save_screenshot(str(PICTURES / f"event-{form}.png"))
    driver.quit()


def main() -> None:
    """Start the daemon and take all screenshots."""
    PICTURES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    soundfile.write(folder / "scene.wav", demo.scene(), 16_000, subtype="PCM_16")
    store = EventStore(folder / "events.db")
    add_events(store, 2_000)
    store.close()
    config = folder / "streamdet.toml"
    quiet = np.random.default_rng(1).normal(0.0, 1e-3, 60 * 16_000)
    soundfile.write(folder / "quiet.wav", quiet, 16_000, subtype="PCM_16")
    add_background(BackgroundFiles(folder / "backgrounds", lambda *problem: print(*problem)))
    config.write_text(
        f'threshold = 0.6\n[store]\npath = "{folder}/events.db"\n'
        f'[clips]\nfolder = "{folder}/events-clips"\n[web]\naddress = "{ADDRESS}"\n'
        f'[http]\naddress = "off"\n[[sources]]\nname = "microphone"\nloop = true\n'
        f'file = "{folder}/scene.wav"\n[background]\nfolder = "{folder}/backgrounds"\n'
        f'[[sources]]\nname = "gate"\nloop = true\nfile = "{folder}/quiet.wav"\n'
        'false_alarms = "1/day"\n'
    )
    listen = [sys.executable, "-m", "streamdet", "listen", "--config", config]
    daemon = subprocess.Popen(listen, stdout=subprocess.DEVNULL)
    try:
        time.sleep(30)
        for form, (width, height) in FORMS.items():
            take_screenshots(form, width, height)
    finally:
        daemon.terminate()
        daemon.wait(20)


if __name__ == "__main__":
    main()
