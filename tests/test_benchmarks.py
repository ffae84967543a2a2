"""The benchmarks: the runtimes they compare agree, and their page shows their results."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from streamdet.model.config import FrontendConfig, ModelConfig
from train.evaluation.cost import count_detector_operations

PAGE = ROOT / "benchmarks" / "README.md"


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_runtime_has_the_shipped_networks():
    done = run("benchmarks.references")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\w+), streams: (\d)", done.stdout, re.MULTILINE) == [
        ("third", "1"), ("third", "3"), ("tiny", "1"),
    ]  # fmt: skip


def test_operations_are_counted_as_by_hand():
    front = FrontendConfig(sample_rate=1_000, hop=10, window=20, n_fft=32, bands=4)
    model = ModelConfig(bands=4, conv=((3, 5, 2),), cells=(2,), labels=("gunshot",))
    cost = count_detector_operations(front, model)
    assert cost.encoder == 50 * 2 * 5 * 4 * 3
    assert cost.recurrent_head == 50 * (2 * (3 + 2) * 8 + 2 * 2)
    patched = replace(model, patch=(2, 1), backgrounds=(9,))
    assert count_detector_operations(front, patched).encoder == 50 * 3 * 2 * 5 * (2 * 2) * 3


def test_the_page_shows_the_results():
    done = run("benchmarks.report", "--check")
    assert done.returncode == 0, done.stderr


def test_the_readme_has_the_targets_as_measured():
    """A value in a README row with a benchmark's command is one of the page's target table."""

    def measured(path: Path) -> set[tuple[str, str]]:
        lines = [x for x in path.read_text().splitlines() if "| `python -m benchmarks" in x]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return {(row[-1], re.split(r"[ %]", row[2])[0]) for row in rows}

    in_readme = measured(ROOT / "README.md")
    assert in_readme
    assert in_readme <= measured(PAGE)


def test_each_benchmark_is_a_module_with_a_section():
    names = [line.partition(":")[0] for line in run("benchmarks", "--list").stdout.splitlines()]
    assert {"start", "latency", "films", "soak"} <= set(names)
    for name in names:
        assert (ROOT / "benchmarks" / f"{name}.py").is_file()


def test_an_unknown_benchmark_is_one_clear_line():
    done = run("benchmarks", "speed")
    assert done.returncode == 2
    assert "no benchmark speed. Use start, latency" in done.stderr


def test_the_child_processes_of_benchmarks_run():
    done = run("benchmarks.children.first_score", "numpy")
    assert done.returncode == 0, done.stderr
    done = run("benchmarks.children.stream_memory", "3")
    assert json.loads(done.stdout) > 0, done.stderr
    done = run("benchmarks.children.peak_memory", "--help")
    assert re.search(r"\npeak \d+$", done.stderr), done.stderr
    scene = ROOT / "streamdet" / "demo" / "scene.flac"
    done = run("benchmarks.children.film_stages", str(scene), "2")
    assert set(json.loads(done.stdout)) == {"decode", "mix", "auto"}, done.stderr


@pytest.mark.parametrize("folder", ["streamdet", "train", "tests"])
def test_nothing_else_imports_the_benchmarks(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) benchmarks\b", text, re.MULTILINE), path
