"""Scoring by labels of every format, and comparing two runs."""

import numpy as np
import pytest
from conftest import records, streamdet
from hypothesis import given
from hypothesis import strategies as st

from streamdet import demo
from streamdet.scoring import labels
from streamdet.scoring.comparison import RunEvent, pair_events
from streamdet.scoring.labels import ShotLabel
from streamdet.scoring.matching import count_windows, match_events, match_spans, overlaps
from train.evaluation import metrics

SHOTS = [(o, o + 0.3) for o in demo.ONSETS_S]


def write(folder, form):
    """Write the demo's shots as labels of a format."""
    path = folder / "labels.txt"
    if form == "raven":
        head = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tBegin File\n"
        rows = (
            f"{i}\tSpectrogram 1\t1\t{a}\t{b}\tscene.wav\n" for i, (a, b) in enumerate(SHOTS, 1)
        )
        path.write_text(head + "".join(rows))
    elif form == "audacity":
        path.write_text("".join(f"{a}\t{b}\tshot\n" for a, b in SHOTS))
    elif form == "csv":
        path.write_text("onset_s,offset_s\n" + "".join(f"{a},{b}\n" for a, b in SHOTS))
    elif form == "names":
        path.write_text("scene_00-00-00.000.wav\nscene_00-00-10.000.wav\n")
    elif form == "csv of names":
        path.write_text("name\nscene_00-00-00.000.wav\nscene_00-00-10.000.wav\n")
    else:
        path = folder / "windows"
        path.mkdir()
        for start in ("00.000", "10.000"):
            (path / f"scene_00-00-{start}.wav").touch()
    return path


@pytest.mark.parametrize("form", ["csv", "audacity", "raven", "names", "csv of names", "files"])
def test_events_are_scored_by_labels_of_every_format(tmp_path, wav, form):
    path = write(tmp_path, form)
    done = streamdet("file", wav, "--threshold", "0.6", "--labels", path)
    assert done.returncode == 0, done.stderr
    first, second = done.stderr.decode().splitlines()
    assert "of 3 events 3 are true and 0 false positives; 0 of " in first
    assert "precision 1.00; recall 1.00" in first
    assert ("onset error" in first) == (form in ("csv", "audacity", "raven"))
    assert second.endswith("scene.wav: correct predictions 2 / 2, false positive windows 0")


def test_raven_tables_can_be_read_back(tmp_path, wav):
    table = tmp_path / "scene.selections.txt"
    streamdet("file", wav, "--threshold", "0.6", "--output", table)
    assert [x.onset_s for x in labels.read_labels(table)] == pytest.approx(demo.ONSETS_S, abs=0.03)
    assert {x.file for x in labels.read_labels(table)} == {"scene.wav"}


def test_a_scan_is_scored_over_all_its_files(tmp_path, wav):
    for name in ("one", "two"):
        (tmp_path / f"{name}.wav").write_bytes(wav.read_bytes())
    path = tmp_path / "labels.csv"
    path.write_text("onset_s,file\n4.2,one.wav\n9.5,one.wav\n15.2,two\n30,two\n")
    done = streamdet("scan", tmp_path, "--manifest", tmp_path / "m.db", "--threshold", "0.6",
                     "--labels", path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    message = done.stderr.decode().splitlines()
    assert "of 6 events 3 are true and 3 false positives; 1 of 4 labelled" in message[1]
    assert message[2].endswith("one.wav: correct predictions 1 / 1, false positive windows 1")
    assert message[3].endswith("two.wav: correct predictions 1 / 2, false positive windows 1")


def test_invalid_labels_are_a_one_line_error(tmp_path, wav):
    for text, message in (
        ("shot1.wav\n", b"line 1: not a label. Supported are Audacity's and Raven's"),
        ("name\nshot1.wav\n", b"line 2: shot1.wav: not named like movie_HH-MM-SS"),
        ("Selection\tBegin Time (s)\n1\tsoon\n", b"line 2: 'soon' is not a time"),
    ):
        (tmp_path / "labels").write_text(text)
        done = streamdet("file", wav, "--labels", tmp_path / "labels")
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


spans = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 20)), max_size=8).map(
    lambda some: [(a, a + b) for a, b in some]
)


@given(spans, spans)
def test_windows_are_counted_once(found, shots):
    windows = count_windows(found, [ShotLabel(a, b) for a, b in shots])
    assert 0 <= windows.correct <= windows.labelled <= sum(int(b - a) // 10 + 2 for a, b in shots)
    assert count_windows(shots, [ShotLabel(a, b) for a, b in shots]).false == 0
    if not shots:
        assert windows.labelled == windows.correct == 0


@given(spans, spans)
def test_labels_and_the_benchmark_match_by_the_same_rule(found, shots):
    true, hits = match_spans(found, shots)
    labels_match = match_events(found, [ShotLabel(a, b) for a, b in shots])
    assert (list(labels_match.true), labels_match.found) == (true, sum(hits))
    alarms = [(a, b, 0.9) for a, b in found]
    assert metrics.match_events(alarms, shots) == (hits, true.count(False))


def test_an_event_at_the_collar_matches_and_one_beyond_does_not():
    shot = (10.0, 10.25)
    assert overlaps((9.0, 9.5), shot)
    assert not overlaps((9.0, 9.49), shot)
    assert overlaps((10.75, 11.0), shot)
    assert not overlaps((10.76, 11.0), shot)
    assert overlaps((9.0, 9.0), shot, 1.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, wav):
    """The same sound at two thresholds: the stricter one misses the shot with the lowest score."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name: str, threshold: float) -> None:
        args = ("--threshold", f"{threshold:.4f}", "--output", folder / name)
        assert streamdet("file", wav, *args).returncode == 0

    run("loose.jsonl", 0.6)
    lowest, next_score, _ = sorted(e["score"] for e in loose_events(folder))
    run("strict.csv", (lowest + next_score) / 2)
    return folder


def loose_events(folder) -> list[dict]:
    return records((folder / "loose.jsonl").read_bytes())


def find_missed(folder) -> int:
    """The index of the shot that the stricter run misses."""
    return int(np.argmin([e["score"] for e in loose_events(folder)]))


def test_compare_lists_the_events_of_one_run_only(runs, wav):
    args = ("compare", runs / "loose.jsonl", runs / "strict.csv")
    done = streamdet(*args)
    assert done.returncode == 0, done.stderr
    (only,) = records(done.stdout)
    assert (only["heard_by"], only["source"]) == ("first", str(wav))
    missed = find_missed(runs)
    assert only["onset_s"] == pytest.approx(demo.ONSETS_S[missed], abs=0.05)
    assert only["second_score"] is None
    assert b"first: " in done.stderr
    assert b"3 events of streamdet-third/1, threshold 0.6\n" in done.stderr
    assert b"2 events in both runs, 1 only in the first, 0 only in the second" in done.stderr
    assert len(records(streamdet(*args, "--all").stdout)) == 3
    table = streamdet(*args, "--format", "table", "--all").stdout.decode().splitlines()
    assert table[0].split() == ["onset", "found", "in", "first", "second", "source"]
    expected = ["first" if i == missed else "both" for i in range(3)]
    assert [line.split()[1] for line in table[1:]] == expected
    rows = streamdet(*args, "--format", "csv").stdout.decode().splitlines()
    assert rows[0] == "source,heard_by,onset_s,offset_s,first_score,second_score"
    same = streamdet("compare", args[1], args[1], "--format", "table")
    assert same.stdout == b"no difference\n"


def test_with_labels_compare_says_which_events_are_true(runs, tmp_path):
    shots = tmp_path / "shots.csv"
    found = [onset for i, onset in enumerate(demo.ONSETS_S) if i != find_missed(runs)]
    shots.write_text("onset_s\n{}\n{}\n".format(*found))
    done = streamdet("compare", runs / "loose.jsonl", runs / "strict.csv", "--labels", shots)
    (only,) = records(done.stdout)
    assert only["true"] is False
    first, second, _ = done.stderr.decode().splitlines()
    assert "of 3 events 2 are true" in first
    assert "of 2 events 2 are true" in second


def test_a_file_without_events_is_a_one_line_error(tmp_path, runs):
    for text in ('{"phase": "final"}\n', "a,b\n1,2\n", "{\n", '{"phase":"final","model":7}\n'):
        (tmp_path / "none").write_text(text)
        done = streamdet("compare", runs / "loose.jsonl", tmp_path / "none")
        assert done.returncode == 2
        assert b"not events of streamdet as JSON lines or CSV" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert streamdet("compare", tmp_path / "gone", tmp_path / "gone").returncode == 2


@given(spans, spans)
def test_pairs_are_within_the_collar_and_no_event_is_lost(first, second):
    def run_events(spans, folder):
        return [RunEvent(f"{folder}/x.wav", a, b, 0.9, 0.5, 1, "m/1", None) for a, b in spans]

    found = pair_events(run_events(first, "here"), run_events(second, "there"), 0.5)
    assert sum(pair.first is not None for pair in found) == len(first)
    assert sum(pair.second is not None for pair in found) == len(second)
    for pair in found:
        if pair.found_in == "both":
            assert pair.first.onset_s <= pair.second.offset_s + 0.5
            assert pair.second.onset_s <= pair.first.offset_s + 0.5


def test_compare_counts_labels_that_name_a_file_without_its_folder_once(runs, wav, tmp_path):
    labels = tmp_path / "named.csv"
    rows = [f"{a},{b},{wav.stem}\n" for a, b in SHOTS]
    labels.write_text("onset_s,offset_s,file\n" + "".join(rows))
    both = (runs / "loose.jsonl", runs / "strict.csv")
    done = streamdet("compare", *both, "--labels", labels)
    assert f"of {len(SHOTS)} labelled".encode() in done.stderr
    assert f"of {2 * len(SHOTS)} labelled".encode() not in done.stderr
