"""The Python API, as docs/python.md describes it."""

import json
import re
import subprocess
import sys
import typing

import numpy as np
import pytest
from conftest import ROOT, records, streamdet
from hypothesis import given, settings
from hypothesis import strategies as st

import streamdet as package
from streamdet import demo


def test_a_file_gives_the_events_of_the_command(wav):
    done = streamdet("file", wav, "--threshold", "0.6")
    found = list(package.detect(wav, threshold=0.6))
    assert [e.record() for e in found] == records(done.stdout)
    assert [e.onset_s for e in found] == pytest.approx(demo.ONSETS_S, abs=0.05)
    part = list(package.detect(wav, threshold=0.6, start_s=8.0, end_s=12.0))
    assert [e.onset_s for e in part] == pytest.approx(demo.ONSETS_S[1:2], abs=0.05)


def test_a_budget_gives_the_threshold_of_the_background(wav, scene):
    done = streamdet("file", wav, "--false-alarms", "1/h")
    found = list(package.detect(wav, false_alarms="1/h"))
    assert [e.record() for e in found] == records(done.stdout)
    more = list(package.detect(wav, false_alarms="10/h"))
    assert more[0].detection.threshold < found[0].detection.threshold
    pair = np.stack([scene, scene], axis=1)
    for hear, budget in (("auto", "1/h"), ("each", "2/h")):  # the channels share it
        detector = package.Detector(16_000, 2, false_alarms=budget, hear=hear)
        events = detector.feed(pair) + detector.finish()
        assert len(events) == (6 if hear == "each" else 3)
        assert all(e.detection.score >= e.detection.threshold for e in events)


@pytest.fixture(scope="module")
def whole_scene(scene):
    detector = package.Detector(16_000, threshold=0.6)
    return detector.feed(scene) + detector.finish()


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=30))
def test_a_detector_gives_the_same_events_for_any_chunks(scene, whole_scene, sizes):
    chunked, at, found = package.Detector(16_000, threshold=0.6), 0, []
    while at < len(scene):
        size = sizes[at % len(sizes)]
        found += chunked.feed(scene[at : at + size])
        at += size
    found += chunked.finish()
    assert [e.onset_s for e in found] == [e.onset_s for e in whole_scene]
    assert chunked.seconds == pytest.approx(20.0)


def test_invalid_options_and_files_raise_clear_errors(wav, tmp_path):
    with pytest.raises(package.SourceError, match="No such"):
        list(package.detect(tmp_path / "none.wav"))
    with pytest.raises(package.BundleError):
        package.Detector(16_000, model=tmp_path)
    for wrong in ({"threshold": 2.0}, {"operating_point": "wild"}, {"false_alarms": "daily"},
                  {"threshold": 0.5, "operating_point": "strict"},
                  {"false_alarms": "1/day", "operating_point": "strict"}):  # fmt: skip
        with pytest.raises(ValueError, match=r"threshold|operating_point|false alarms"):
            package.Detector(16_000, **wrong)
    detector = package.Detector(16_000, 2)
    with pytest.raises(ValueError, match="expected"):
        detector.feed(np.zeros((10, 3)))
    detector.finish()
    assert detector.finish() == []
    with pytest.raises(ValueError, match="finished"):
        detector.feed(np.zeros((10, 2)))
    cut = tmp_path / "cut.wav"
    cut.write_bytes(wav.read_bytes()[:400_000])
    events = package.detect(cut, threshold=0.6)
    assert next(events).onset_s == pytest.approx(demo.ONSETS_S[0], abs=0.05)
    with pytest.raises(package.SourceError, match="truncated"):
        list(events)


def test_scores_are_two_arrays_of_the_last_frames():
    detector = package.Detector(16_000)
    detector.feed(demo.scene()[: 5 * 16_000])
    times, scores = detector.scores()
    assert times.dtype == np.float64
    assert scores.dtype == np.float32
    assert times.shape == scores.shape == (125,)
    returned = typing.get_type_hints(package.Detector.scores)["return"]
    assert returned == tuple[np.ndarray, np.ndarray]


def test_importing_the_package_imports_neither_numpy_nor_jax():
    code = "import sys, streamdet; sys.exit('numpy' in sys.modules or 'jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_examples_of_the_page_run():
    page = (ROOT / "docs" / "python.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    code += "\nassert len(found) == 3 and len(times) == len(scores) > 100\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"4.21 s, 1 rounds, 0.99")


def test_events_become_a_table(wav):
    pandas = pytest.importorskip("pandas")
    table = package.to_pandas(package.detect(wav, threshold=0.6))
    assert isinstance(table, pandas.DataFrame)
    assert list(table["rounds"]) == [1, 3, 1]
    assert "label_fireworks" in table.columns


NOTEBOOK = """
import json, sys
import nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(book, timeout=120, resources={"metadata": {"path": "."}}).execute()
kept = ("text/plain", "image/png")
outputs = [o for cell in book.cells for o in cell.get("outputs", [])]
texts = "".join(o["text"] for o in outputs if "text" in o)
data = [sorted(k for k in o["data"] if k in kept) for o in outputs if "data" in o]
print(json.dumps([texts, data]))
"""


def test_the_notebook_runs_and_its_stored_outputs_are_current():
    book = json.loads((ROOT / "docs" / "films.ipynb").read_text())
    done = subprocess.run([sys.executable, "-c", NOTEBOOK, "docs/films.ipynb"], cwd=ROOT,
                          capture_output=True, text=True, check=False, timeout=200)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    outputs = [output for cell in book["cells"] for output in cell.get("outputs", [])]
    texts, data = json.loads(done.stdout.splitlines()[-1])
    assert texts == "".join("".join(o["text"]) for o in outputs if "text" in o)
    assert len(data) == sum("data" in o for o in outputs)
    assert ["image/png", "text/plain"] in data


def test_the_public_names_are_listed_before_they_are_imported():
    listed = "import streamdet; print(*dir(streamdet))"
    done = subprocess.run(
        [sys.executable, "-c", listed], capture_output=True, text=True, check=True
    )
    assert {"detect", "Detector", "SourceError", "__version__"} <= set(done.stdout.split())
