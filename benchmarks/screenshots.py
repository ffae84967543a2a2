"""`python -m benchmarks.screenshots`: the review page's views as pictures, for docs/pictures/.

A daemon hears the shipped scene over and over beside two thousand older events that are made up; in
light and dark, and on a phone's width. Wants Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from benchmarks.measure import ROOT
from streamdet import demo
from streamdet.detection.event import Detection, Event, ModelId, event_id
from streamdet.store.store import EventStore
from streamdet.store.verdict import CAUSES, Verdict

PICTURES = ROOT / "docs" / "pictures"
ADDRESS = "127.0.0.1:9478"
FORMS = {"light": (1100, 900), "dark": (1100, 900), "phone": (390, 844)}
MODEL = ModelId("streamdet-second", "1", "5e8c" * 16)


def made_up(store: EventStore, count: int) -> None:
    """Events of the last weeks, most of them by day, two thirds of them reviewed."""
    chance = random.Random(3)
    for number in range(count):
        source = chance.choice(("gate", "gate", "yard", "range"))
        at = time.time() - chance.uniform(0.01, 28) * 86_400
        if 6 < time.gmtime(at).tm_hour < 21 or chance.random() < 0.2:
            real = chance.random() < 0.65
            score = 1.0 - chance.betavariate(1.2, 9 if real else 5) * 0.9
            score = max(0.61, score)
            labels = {"gunshot": score, "speech": 0.1, "fireworks": chance.random() * 0.5,
                      "impact": chance.random() * 0.3, "ambience": 0.6}  # fmt: skip
            onset, rounds = number * 16_000, chance.choice((1, 1, 1, 2, 3))
            d = Detection("final", onset, onset + 6_000, onset + 9_000, rounds, score, 0.6, -25.0,
                          labels)  # fmt: skip
            identity = event_id(source, MODEL, d.onset, at, 16_000)
            store.add(Event(d, identity, source, 16_000, at, MODEL).record())
            if chance.random() < 0.66:
                cause = None if real else chance.choice(CAUSES[:5])
                said = Verdict("true" if real else "false", cause, None, "ann")
                store.review(identity, said)


def browser(width: int, height: int) -> webdriver.Chrome:
    """Debian's Chromium, without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
                 "--no-first-run", "--disable-background-networking", "--disable-sync",
                 "--disable-component-update", "--hide-scrollbars",
                 f"--window-size={width},{height}",
                 f"--user-data-dir={tempfile.mkdtemp()}"):  # fmt: skip
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def shoot(form: str, width: int, height: int) -> None:
    """Every view in one form."""
    driver = browser(width, height)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if form == "dark" else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": form == "phone"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for view, path in (("events", "/events?source=microphone"), ("day", "/day"),
                       ("precision", "/precision?threshold=0.8"), ("live", "/")):  # fmt: skip
        driver.get(f"http://{ADDRESS}{path}")
        time.sleep(14 if view == "live" else 1.5)
        driver.save_screenshot(str(PICTURES / f"{view}-{form}.png"))
        if view == "events":
            driver.find_elements(By.CSS_SELECTOR, ".card[data-clip] h3 a")[0].click()
            time.sleep(1.5)
            driver.save_screenshot(str(PICTURES / f"event-{form}.png"))
    driver.quit()


def main() -> None:
    """Begin the daemon, and take them all."""
    PICTURES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    soundfile.write(folder / "scene.wav", demo.scene(), 16_000, subtype="PCM_16")
    store = EventStore(folder / "events.db")
    made_up(store, 2_000)
    store.close()
    config = folder / "streamdet.toml"
    config.write_text(
        f'threshold = 0.6\n[store]\npath = "{folder}/events.db"\n'
        f'[clips]\nfolder = "{folder}/events-clips"\n[web]\naddress = "{ADDRESS}"\n'
        f'[http]\naddress = "off"\n[[sources]]\nname = "microphone"\nloop = true\n'
        f'file = "{folder}/scene.wav"\n'
    )
    listen = [sys.executable, "-m", "streamdet", "listen", "--config", config]
    daemon = subprocess.Popen(listen, stdout=subprocess.DEVNULL)
    try:
        time.sleep(30)
        for form, (width, height) in FORMS.items():
            shoot(form, width, height)
    finally:
        daemon.terminate()
        daemon.wait(20)


if __name__ == "__main__":
    main()
