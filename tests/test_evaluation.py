"""The evaluation of the shipped bundle on sets made here: metrics, page, peers, calibration."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, need_shared

from streamdet.detection.frames import FrameGrid, ScoredFrames
from streamdet.model import bundle as bundles
from train import ranking
from train.data import mixtures
from train.data.corpus import Corpus
from train.data.labels import LABELS
from train.detector import calibration
from train.evaluation import (
    clip_metrics,
    metrics,
    page,
    peers,
    plots,
    psds,
    reliability,
    report,
    robustness,
    scene_metrics,
    scored_sets,
)


@pytest.fixture(scope="module")
def scenes(cache, tmp_path_factory):
    folder, corpus = tmp_path_factory.mktemp("set"), Corpus(cache)
    rare = mixtures.make_rare_mixtures(corpus, "val", 1, 6, (-6.0, 6.0))
    film = mixtures.make_film_mixtures(corpus, "val", 1, 1)
    bursts = mixtures.make_burst_mixtures(corpus, "val", 1, 3)
    assert mixtures.write_mixtures([*rare, *film, *bursts], folder) == 10
    return folder


@pytest.fixture(scope="module")
def evaluated(scenes, data):
    return report.evaluate_bundle(bundles.load(), scenes, data, "test")


def test_every_kind_of_scene_has_its_metrics(evaluated):
    rare, film, bursts = (evaluated.metrics[k] for k in ("rare", "film", "bursts"))
    assert (rare["events"], film["events"], bursts["events"]) == (3, 10, 3)
    assert set(rare["recall_by_ebr"]) == {"-6", "6"}
    assert rare["best_onset_error_rate"] >= 0.0
    assert "sensitive" in film["points"]
    assert set(film["points"]["sensitive"]["interval"]) >= {"recall", "false_alarms_h"}
    close = evaluated.metrics["clips"]["close"]
    assert (close["shots"], close["others"]) == (2, 16)
    assert 0.0 <= close["ap"] <= 1.0


def test_the_other_sounds_of_a_scene_are_listed(scenes):
    with (scenes / "contents.csv").open() as source:
        rows = list(csv.DictReader(source))
    film = [r for r in rows if r["file"].startswith("film")]
    assert sum(r["role"] == "sound" for r in film) == 100
    assert {r["label"] for r in film} >= {"rain", "door_knock", "fireworks"}
    with (scenes / "truth.csv").open() as source:
        rounds = [r["rounds"] for r in csv.DictReader(source) if r["file"].startswith("bursts")]
    assert all(int(n) >= 2 for n in rounds)


def test_a_page_shows_the_metrics_and_the_worst_errors(evaluated, tmp_path):
    text = page.write_page(evaluated, tmp_path / "page").read_text()
    assert "| film |" in text
    assert "The ten worst misses" in text
    assert "The ten worst false alarms" in text
    assert "## Reliability" in text
    found = text.partition("## Events found by EBR in dB: rare")[2].splitlines()
    assert found[2] == f"| | {' | '.join(evaluated.bundle.operating_points)} |"
    assert found[4].startswith("| -6 | ")
    for name in ("det", "ebr", "reliability", "misses", "alarms"):
        suffix, begins = (
            (".png", b"\x89PNG") if name not in ("misses", "alarms") else (".jpg", b"\xff\xd8")
        )
        assert (tmp_path / "page" / f"{name}{suffix}").read_bytes().startswith(begins)


def test_a_peer_with_our_frame_scores_has_our_metrics(scenes, tmp_path):
    frames = tmp_path / "frames.jsonl"
    command = [sys.executable, "-m", "train", "evaluate", "--set", scenes, "--data", tmp_path,
               "--frames-to", frames, "--json"]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=True, cwd=ROOT
    )
    ours = json.loads(done.stdout)
    detector = bundles.load()
    grid, files = (
        scene_metrics.make_frame_grid(detector),
        scored_sets.score_scenes(detector, scenes),
    )
    peer = peers.compute_peer_metrics(frames, grid, files)
    for name in ("best_error_rate", "recall_at_1_fa_h", "recall_at_20_fa_h"):
        assert peer["rare"][name] == ours["rare"][name]
        assert peer["film"][name] == ours["film"][name]
    with pytest.raises(scored_sets.SceneSetError, match="no frame scores"):
        peers.compute_peer_metrics(scenes / "truth.csv", grid, files)


@pytest.mark.parametrize("stride", [4, 96])
def test_a_peers_false_alarms_per_hour_do_not_depend_on_our_frames(tmp_path, stride):
    """An hour with ten false alarms of the peer, on frames of a detector and of a tagger."""
    grid = FrameGrid(16_000, 160, stride, tuple(LABELS))
    file = make_file("film/0.flac", np.zeros(3_600 * 100 // stride))
    frames = [[round(0.48 * i, 2), 0.9 if i % 750 == 50 else 0.1] for i in range(7_500)]
    path = tmp_path / "peer.jsonl"
    path.write_text(json.dumps({"file": file.name, "win": 0.975, "frames": frames}) + "\n")
    event = scored_sets.TrueEvent((10.0, 10.5), "g", "6", None)
    peer = peers.compute_peer_metrics(path, grid, [replace(file, events=(event,))])
    assert max(false_alarms_h for false_alarms_h, _ in peer["film"]["curve"]) == 10.0


def test_a_peers_file_with_one_frame_is_refused(tmp_path):
    path = tmp_path / "peer.jsonl"
    path.write_text('{"file": "film/0.flac", "win": 2.0, "frames": [[0.0, 0.5]]}\n')
    grid = FrameGrid(16_000, 160, 4, tuple(LABELS))
    with pytest.raises(scored_sets.SceneSetError, match="no frame scores"):
        peers.compute_peer_metrics(path, grid, [make_file("film/0.flac", np.zeros(100))])


def test_the_benchmarks_score_script_counts_the_same(tmp_path):
    shared = need_shared()
    detector = bundles.load()
    files = scored_sets.score_scenes(detector, shared / "eval")
    scored_sets.write_frame_scores(
        tmp_path / "ours.jsonl", scene_metrics.make_frame_grid(detector), files
    )
    script = [sys.executable, str(shared / "eval" / "score.py"), "frames"]
    done = subprocess.run(
        [*script, str(tmp_path / "ours.jsonl")], capture_output=True, text=True, check=True
    )
    theirs = json.loads(done.stdout.splitlines()[0].removeprefix("rare "))
    ours = scene_metrics.compute_scene_metrics(detector, scored_sets.group_by_kind(files)["rare"])
    assert ours["best_error_rate"] == pytest.approx(theirs["best_ER"], abs=0.026)
    assert ours["recall_at_6_fa_h"] == pytest.approx(theirs["recall@6FA/h"], abs=0.026)


def test_robustness_scores_every_degradation(cache, tmp_path):
    detector = bundles.load()
    scenes = mixtures.make_rare_mixtures(Corpus(cache), "val", 1, 2, (6.0,))
    mixtures.write_mixtures(scenes, tmp_path)
    rare = {name: row["rare"] for name, row in robustness.compute_robustness(detector, tmp_path)}
    assert {"as it is", "-20 dB", "room", "8 kHz", "gsm, low rate"} <= set(rare)
    x = np.random.default_rng(0).standard_normal(16_000).astype("f") * 0.1
    for degrade in robustness.list_degradations().values():
        assert degrade(x).shape == x.shape
        assert degrade(x).dtype == np.float32


def make_file(name, scores, events=(), contents=()):
    scores = np.asarray(scores, np.float32)[:, None].repeat(len(LABELS), axis=1)
    frames = ScoredFrames(scores, np.zeros((len(scores), 4), np.float32), scores[:, 0])
    return scored_sets.ScoredFile(name, ROOT, frames, tuple(events), tuple(contents))


def test_false_alarms_are_named_by_the_sound_that_begins_nearest():
    grid = scene_metrics.make_frame_grid(bundles.load())
    scores = np.zeros(1_500)
    scores[[250, 1_000]] = 0.9
    sounds = [
        scored_sets.SceneContent((9.0, 12.0), "sound", "drum_hit", "a"),
        scored_sets.SceneContent((9.9, 10.4), "sound", "door_slam", "b"),
        scored_sets.SceneContent((0.0, 60.0), "bed", "rain", "c"),
    ]
    file = make_file("film/0", scores, contents=sounds)
    found = [metrics.find_alarms(scores, 0.04, 0.5)]
    named = scene_metrics.count_false_alarms_by_label(grid, found, [file])
    assert named == {"door_slam": 60.0, "rain": 60.0}
    assert sorted(scene_metrics.count_alarms_by_minute(grid, found, [file])) == [(2, 1.0)]


def test_the_metrics_of_a_point_are_from_one_run_of_the_decision(monkeypatch):
    detect, ran = scene_metrics.detect_events, []

    def count(grid, config, file):
        ran.append(file.name)
        return detect(grid, config, file)

    monkeypatch.setattr(scene_metrics, "detect_events", count)
    grid, scores = FrameGrid(16_000, 160, 4, tuple(LABELS)), np.zeros(1_500)
    scores[[250, 1_000]] = 0.9
    event = scored_sets.TrueEvent((10.0, 10.5), "g", "6", 2)
    for kind, key in (("rare", "onset_f1"), ("bursts", "rounds")):
        file = make_file(f"{kind}/0", scores, [event])
        row = scene_metrics.compute_point_metrics(grid, [file, replace(file, events=())], 0.5)
        assert (row["recall"], row["false_alarms_h"], row["f1"]) == (1.0, 90.0, 0.4)
        assert key in row
        assert ran == 2 * [f"{kind}/0"]
        ran.clear()


def test_shots_are_counted_by_distance_and_those_without_one_last():
    grid, scores = FrameGrid(16_000, 160, 4, tuple(LABELS)), np.zeros(1_500)
    scores[[250, 500]] = 0.9
    events = [
        scored_sets.TrueEvent((10.0, 10.5), "g", "", None),
        scored_sets.TrueEvent((20.0, 20.5), "g", "150", None),
        scored_sets.TrueEvent((40.0, 40.5), "g", "160", None),
    ]
    row = scene_metrics.compute_point_metrics(grid, [make_file("city/0", scores, events)], 0.5)
    assert list(row["recall_by_ebr"].items()) == [("100 to 200 m", "1/2"), ("not known", "1/1")]


def test_intervals_hold_the_figure_and_shrink_with_more_recordings():
    few = scene_metrics.bootstrap_intervals([(1, 2)] * 2 + [(2, 2)] * 2, [(1, 1.0)] * 30)
    many = scene_metrics.bootstrap_intervals([(1, 2)] * 50 + [(2, 2)] * 50, [(1, 1.0)] * 30)
    for interval in (few, many):
        assert interval["recall"][0] <= 0.75 <= interval["recall"][1]
        assert interval["false_alarms_h"] == [60.0, 60.0]
    width = [np.ptp(interval["recall"]) for interval in (few, many)]
    assert width[1] < width[0]


def test_ranking_figures_on_known_orders():
    positive, falling = np.array([True, False, True, False]), np.array([4, 3, 2, 1])
    assert ranking.average_precision(falling, positive) == pytest.approx(5 / 6)
    assert ranking.average_precision(np.ones(4), positive) == 0.5
    assert ranking.roc_auc(falling, positive) == 0.75
    assert ranking.roc_auc(np.ones(4), positive) == 0.5
    for truth in (np.zeros(0, bool), np.zeros(2, bool)):
        assert np.isnan(ranking.average_precision(np.zeros(len(truth)), truth))
        assert np.isnan(ranking.roc_auc(np.zeros(len(truth)), truth))
    assert np.isnan(ranking.roc_auc(np.zeros(2), np.ones(2, bool)))
    clip = scored_sets.ScoredClip("a", "gunshot", "gunshot", "s", "g", "field", 0.5)
    assert clip_metrics.is_far(clip)
    assert not clip_metrics.is_far(replace(clip, kind="range"))


def test_a_temperature_corrects_overconfident_scores():
    rng = np.random.default_rng(0)
    honest = rng.normal(-1.0, 2.0, 20_000)
    positive = rng.random(20_000) < 1.0 / (1.0 + np.exp(-honest))
    assert calibration.fit_temperature(3.0 * honest, positive) == pytest.approx(3.0, rel=0.05)
    sure = reliability.compute_calibration_error(3.0 * honest, positive)
    assert reliability.compute_calibration_error(honest, positive) < 0.02 < sure
    detector = bundles.load()
    head, cooled = (
        detector.params["head"],
        calibration.apply_temperature(detector.params, 2.0)["head"],
    )
    np.testing.assert_allclose(cooled["kernel"][:, 0], head["kernel"][:, 0] / 2)
    np.testing.assert_array_equal(cooled["kernel"][:, 1:], head["kernel"][:, 1:])


def test_worst_alarms_are_of_different_things():
    detector = bundles.load()
    grid = scene_metrics.make_frame_grid(detector)
    scores = np.zeros(2_000)
    scores[[100, 500, 900, 1_300]] = [0.9, 0.95, 0.8, 0.7]
    spans = [("drum", 3.9), ("drum", 19.9), ("door", 35.9)]
    contents = tuple(
        scored_sets.SceneContent((at, at + 1.0), "sound", label, label) for label, at in spans
    )
    file = make_file("film/0", scores, [], contents)
    worst = plots.find_worst_alarms(grid, [file], 0.5, 10)
    assert [(m.description, round(m.at_s)) for m in worst] == [
        ("drum", 20),
        ("door", 36),
        ("unknown", 52),
    ]


def test_psds_agrees_that_a_perfect_detector_is_perfect():
    if not psds.is_installed():
        pytest.skip("sed-scores-eval is not installed: pip install 'streamdet[crosscheck]'")
    grid = scene_metrics.make_frame_grid(bundles.load())
    scores = np.zeros(750)
    scores[100:120] = 0.9
    event = scored_sets.TrueEvent((4.0, 4.8), "g", "0", None)
    assert psds.compute_psds(grid, [make_file("rare/0", scores, [event])]) == 1.0
