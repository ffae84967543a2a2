"""Reports, plots and clips of files."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from conftest import streamdet, wait_for
from selenium.webdriver.common.by import By
from test_media import film
from test_web_browser import axe, chromium  # noqa: F401 - fixtures

from streamdet.report.collector import STEP_S, ScoreCurve


@pytest.fixture(scope="module")
def made(tmp_path_factory, wav) -> Path:
    """A report of a film and an audio file, with excerpts, plots and clips."""
    folder = tmp_path_factory.mktemp("report")
    film(folder / "<film> & co.mkv", wav)
    (folder / "sound.wav").write_bytes(wav.read_bytes())
    done = streamdet("file", "<film> & co.mkv", "sound.wav", "--threshold", "0.6", "--output",
                     "r.html", "--excerpts", "--plot", "p.svg", "--clips", "clips",
                     cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    return folder


def test_a_report_shows_every_event_and_plays_it(chromium, made):  # noqa: F811
    chromium.get((made / "r.html").as_uri())
    assert chromium.find_element(By.TAG_NAME, "h1").text == "6 gunshot events in 2 files"
    names = [h.text for h in chromium.find_elements(By.TAG_NAME, "h2")]
    assert names == ["<film> & co.mkv", "sound.wav"]
    heads = [h.text for h in chromium.find_elements(By.TAG_NAME, "h3")]
    assert [h[:7] for h in heads[3:]] == ["00:04.2", "00:09.5", "00:15.2"]
    marks = chromium.find_elements(By.CSS_SELECTOR, ".timeline a")
    assert len(marks) == 6
    chromium.execute_script("arguments[0].dispatchEvent(new MouseEvent('click'))", marks[1])
    wait_for(lambda: chromium.current_url.endswith("#e1-2"))
    widths = "return [...document.images].map(i => i.naturalWidth)"
    assert all(width > 200 for width in chromium.execute_script(widths))
    chromium.execute_script("document.querySelector('audio').play()")
    played = "return document.querySelector('audio').currentTime"
    wait_for(lambda: chromium.execute_script(played) > 0)
    seconds = chromium.execute_script("return document.querySelector('audio').duration")
    assert seconds == pytest.approx(5.3, abs=0.3)


def test_the_page_is_as_in_the_golden_file(made):
    """Without the pictures and sounds in it, which the tests above check."""
    page = re.sub(r"base64,[A-Za-z0-9+/=]+", "base64,", (made / "r.html").read_text())
    golden = Path(__file__).parent / "golden" / "report.html"
    if os.environ.get("GOLDEN"):
        golden.write_text(page)
    assert page == golden.read_text()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 390)])
def test_the_report_is_accessible(chromium, made, axe, scheme, width):  # noqa: F811
    chromium.set_window_size(width, 900)
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    chromium.get((made / "r.html").as_uri())
    chromium.execute_script(axe)
    result = chromium.execute_async_script(
        "const done = arguments[0]; axe.run().then(r => done(JSON.stringify(r.violations)))"
    )
    serious = [v for v in json.loads(result) if v["impact"] in ("serious", "critical")]
    assert not serious, [(v["id"], [n["html"] for n in v["nodes"]][:2]) for v in serious]
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert chromium.execute_script(overflow) <= 0


def test_a_plot_is_an_image_and_reproducible(made):
    tree = ElementTree.parse(made / "p.svg")
    assert tree.getroot().tag.endswith("svg")
    before = (made / "p.svg").read_bytes()
    args = ("file", "<film> & co.mkv", "sound.wav", "--threshold", "0.6")
    streamdet(*args, "--plot", "p.svg", cwd=made)
    assert (made / "p.svg").read_bytes() == before
    done = streamdet(*args, "--plot", "p.png", "--format", "jsonl", cwd=made)
    assert done.stdout.count(b"\n") == 6  # a plot does not replace stdout
    from matplotlib.image import imread

    pixels = imread(made / "p.png")
    assert pixels.shape[0] > 400
    assert pixels.shape[1] > 1_000
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_clips_are_named_by_onset(made):
    names = sorted(p.name for p in (made / "clips").iterdir())
    assert len(names) == 6
    assert [n.partition("_")[0] for n in names] == ["<film> & co"] * 3 + ["sound"] * 3
    samples, rate = soundfile.read(made / "clips" / names[3])
    loudest = abs(samples).argmax() / rate
    assert loudest == pytest.approx(2.0, abs=0.2)  # 2 s before the onset


def test_a_damaged_file_is_marked_in_its_report(tmp_path, wav):
    data = film(tmp_path / "whole.mkv", wav, "-c:a", "flac").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 7 // 10])
    done = streamdet("file", tmp_path / "cut.mkv", "--threshold", "0.6", "--output",
                     tmp_path / "r.html", "--output", tmp_path / "r.jsonl")  # fmt: skip
    assert done.returncode == 3
    page = (tmp_path / "r.html").read_text()
    assert "cut.mkv: truncated: ends at" in page
    assert "2 gunshot events in 1 file" in page
    assert "<audio" not in page
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2


def test_a_pipe_has_a_report_without_pictures(tmp_path, wav):
    done = streamdet("file", "-", "--threshold", "0.6", "--output", tmp_path / "r.html",
                     "--excerpts", stdin=wav.read_bytes())  # fmt: skip
    assert done.returncode == 0
    page = (tmp_path / "r.html").read_text()
    assert "3 gunshot events in 1 file" in page
    assert "<img" not in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plot", "x.jpg"], b"--plot x.jpg: unknown format. Use .png or .svg"),
        (["--plot", "/nowhere/x.svg"], b"--plot /nowhere/x.svg: No such file"),
        (["--excerpts"], b"--excerpts: needs --output NAME.html"),
        (["--output", "/nowhere/x.html"], b"--output /nowhere/x.html: No such file"),
        (["--clips", "/dev/null/x"], b"--clips /dev/null/x: Not a directory"),
    ],
)
def test_output_that_cannot_be_written_is_one_line(tmp_path, wav, options, message):
    done = streamdet("file", wav, *options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_matplotlib_the_message_says_what_to_install(tmp_path, wav):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        f"sys.argv = ['streamdet', 'file', {str(wav)!r}, '--plot', 'x.svg']\n"
        "from streamdet.cli.main import run\nrun()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert b"pip install 'streamdet[plots]'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_curve_has_the_highest_score_of_each_step():
    curve, whole = ScoreCurve(), np.random.default_rng(3).random(5_000).astype(np.float32)
    for start in range(0, 5_000, 130):
        curve.add_scores(start * 0.04, 0.04, whole[start : start + 130])
    steps = (np.arange(5_000) * 0.04 / STEP_S + 1e-6).astype(int)
    expected = [whole[steps == step].max() for step in range(steps[-1] + 1)]
    values = curve.values()
    assert len(values) == len(expected)
    assert values == pytest.approx(expected)
