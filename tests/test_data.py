"""The training clips: decoding, strong labels, checks, fingerprints and draws."""

import csv
import os
import shutil
import subprocess
from functools import partial

import numpy as np
import pytest
import soundfile
from conftest import need, need_shared, train
from corpus import noise

from streamdet.synth import muzzle_blast
from train.data import checks, labels, packages, shots
from train.data.corpus import Corpus, CorpusError, prepare_corpus
from train.data.fingerprint import compute_fingerprint, find_duplicates
from train.data.pool import ClipPool, WeightedPool
from train.data.table import read_rows
from train.errors import TrainError


def test_test_clips_are_prepared_only_on_request(cache):
    assert {c.split for c in Corpus(cache).clips} == {"train", "val"}


def test_the_corpus_returns_the_files_samples(data, cache):
    clip = Corpus(cache).select_clips("train", "gunshot")[0]
    expected = soundfile.read(data / clip.path, dtype="float32")[0]
    np.testing.assert_allclose(Corpus(cache).read_samples(clip), expected, atol=2 / 32768)


def test_a_missing_corpus_is_named(tmp_path):
    with pytest.raises(CorpusError, match="prepare"):
        Corpus(tmp_path)
    with pytest.raises(CorpusError, match=r"manifest\.csv"):
        prepare_corpus(tmp_path, tmp_path / "cache")


def test_a_second_folder_adds_to_the_first(data, tmp_path):
    more = tmp_path / "more"
    (more / "audio").mkdir(parents=True)
    soundfile.write(more / "audio" / "bell.flac", noise(np.random.default_rng(0), 0.5), 16_000)
    with (more / "manifest.csv").open("w") as sink:
        sink.write(",".join(checks.COLUMNS) + "\n")
        sink.write("audio/bell.flac,train,hard_negative,gong,,here,bell,CC0,0.5,16000,1\n")
    assert prepare_corpus(data, tmp_path / "cache", more=more) == 41
    assert Corpus(tmp_path / "cache").clips[-1].source == "here"


def test_packages_become_a_data_folder(tmp_path, monkeypatch):
    small = tmp_path / "small.csv"
    small.write_text(
        "package,licence,category,label,files\n"
        "sound-theme-freedesktop,CC-BY-SA-3.0,hard_negative,click,camera-shutter trash-*\n"
        "sound-theme-freedesktop,CC-BY-SA-3.0,music,chime,bell comp* camera*\n"
    )
    monkeypatch.setattr(packages, "TABLE", small)
    apt = ["apt-get", "download", "--print-uris", "sound-theme-freedesktop"]
    need("apt-get")
    if subprocess.run(apt, capture_output=True).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no package lists: apt-get update")
    count = packages.fetch_packages(tmp_path / "more")
    rows = checks.read_manifest(tmp_path / "more")
    assert count == len(rows) == 4
    assert {r["label"] for r in rows} == {"click", "chime"}
    assert [f for f in checks.find_faults(tmp_path / "more") if f.severe] == []
    remaining = packages.fetch_packages(tmp_path / "less", exclude_from=_as_val(tmp_path / "more"))
    assert remaining < 4, "the chimes are long enough to be recognised"


def _as_val(folder):
    path = folder / "manifest.csv"
    path.write_text(path.read_text().replace(",train,", ",val,"))
    return folder


def test_a_package_that_does_not_exist_is_named(tmp_path, monkeypatch):
    bad = tmp_path / "bad.csv"
    bad.write_text("package,licence,category,label,files\nno-such-package,CC0,music,x,*\n")
    monkeypatch.setattr(packages, "TABLE", bad)
    with pytest.raises(TrainError, match=r"no-such-package|apt-get: not found"):
        packages.fetch_packages(tmp_path / "more")


def test_the_table_of_packages_is_valid():
    for row in read_rows(packages.TABLE):
        assert row["category"] in checks.CATEGORIES
        is_shot = labels.find_head(row["category"], row["label"]) == "gunshot"
        assert is_shot == (row["category"] == "gunshot")
        assert row["files"].split()
        assert row["licence"] not in ("", "unknown")


def test_every_manifest_label_has_a_head():
    assert labels.find_head("hard_negative", "door_slam") == "impact"
    assert labels.find_head("hard_negative", "party_popper") == "fireworks"
    assert labels.find_head("hard_negative", "stapler") == "impulsive"
    assert labels.find_head("ambient", "rain") == "ambience"
    with pytest.raises(ValueError, match="mystery"):
        labels.find_head("mystery", "x")
    shared = need_shared()
    rows = read_rows(shared / "data" / "manifest.csv")
    heads = {
        labels.find_head(r["category"], r["label"]) for r in rows if r["category"] != "mixture"
    }
    assert heads == set(labels.LABELS)


def test_shots_are_found_where_they_are():
    rng = np.random.default_rng(3)
    x = noise(rng, 3.0, 1e-3)
    for at in (0.5, 0.8, 2.0):
        blast = muzzle_blast(rng, 0.25)
        x[round(at * 16_000) :][: len(blast)] += blast
    found = shots.find_shots(x)
    assert (found.onsets / 100).tolist() == pytest.approx([0.5, 0.8, 2.0], abs=0.02)
    onset, offset = shots.find_event(x)
    assert onset / 16_000 == pytest.approx(0.5, abs=0.02)
    assert 2.0 < offset / 16_000 < 2.3


def test_a_far_shot_is_the_sharpest_rise_and_reliable_only_if_alone():
    rng = np.random.default_rng(3)
    x = noise(rng, 4.0, 3e-3)
    for at, level in ((1.0, 0.1), (2.5, 0.05)):
        blast = muzzle_blast(rng, level)
        x[round(at * 16_000) :][: len(blast)] += blast
    onset, _ = shots.find_far_shot(x)
    assert onset == pytest.approx(100, abs=2)
    assert shots.find_far_shot(x, (2.0, 3.0)) == (pytest.approx(250, abs=2), True)
    assert not shots.find_far_shot(noise(rng, 4.0, 3e-3))[1]


def test_a_fingerprint_matches_the_same_recording_only():
    rng = np.random.default_rng(0)
    one, other = noise(rng, 3.0), noise(rng, 3.0)
    cut = 0.3 * one[8_000:40_000] + noise(rng, 2.0, 1e-4)
    prints = {n: compute_fingerprint(x) for n, x in (("one", one), ("other", other), ("cut", cut))}
    found = find_duplicates(prints)
    assert [(a, b) for a, b, _ in found] == [("one", "cut")]
    assert len(compute_fingerprint(np.zeros(16_000, "f"))) == 0


def test_a_pool_weights_recordings_and_not_their_number_of_clips(cache):
    clips = Corpus(cache).select_clips("train", "hard_negative")
    rng = np.random.default_rng(0)
    drawn = [ClipPool(clips).draw(rng).label for _ in range(2_000)]
    for label in {c.label for c in clips}:
        assert drawn.count(label) / 2_000 == pytest.approx(1 / 5, abs=0.04)
    weighted = WeightedPool(clips, {clips[0].path: 3.0, clips[1].path: 1.0})
    share = [weighted.draw(rng).path for _ in range(1_000)].count(clips[0].path) / 1_000
    assert share == pytest.approx(0.75, abs=0.05)


def broken(data, tmp_path, change):
    """A copy of the data folder with its manifest's rows changed."""
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    rows = read_rows(folder / "manifest.csv")
    change(folder, rows)
    with (folder / "manifest.csv").open("w", newline="") as sink:
        table = csv.DictWriter(sink, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return [(f.path, f.problem) for f in checks.find_faults(folder)]


def test_a_valid_folder_has_no_severe_fault(data):
    assert [f for f in checks.find_faults(data) if f.severe] == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            lambda d, r: r[1].update(origin_group=r[45]["origin_group"]),
            "in more than one split: test, train",
        ),
        (lambda d, r: r[0].update(split="dev"), "split 'dev'"),
        (lambda d, r: r[0].update(category="bang"), "category 'bang'"),
        (
            lambda d, r: r[0].update(licence="CC-BY-NC-4.0"),
            "does not allow use in a distributed model",
        ),
        (lambda d, r: r[0].update(path="../x.flac"), "path outside"),
        (lambda d, r: r[0].update(path=r[1]["path"]), "listed twice"),
        (lambda d, r: r[0].update(duration_s="9"), "duration_s is 9"),
        (lambda d, r: (d / r[0]["path"]).write_bytes(b"x"), "can't be decoded"),
        (lambda d, r: (d / r[0]["path"]).unlink(), "can't be decoded"),
        (lambda d, r: soundfile.write(d / r[0]["path"], np.zeros(32_000), 16_000), "silence"),
        (lambda d, r: soundfile.write(d / r[0]["path"], np.ones(4_800), 8_000), "8000 Hz"),
        (lambda d, r: shutil.copy(d / r[16]["path"], d / r[56]["path"]), "the same sound as"),
    ],
)
def test_every_fault_of_a_data_folder_is_named(data, tmp_path, fault, says):
    assert any(says in problem for _, problem in broken(data, tmp_path, fault))


command = partial(train, "data")


def test_the_data_commands(data, cache, tmp_path):
    missing = command("fetch", tmp_path / "more", "--apart-from", tmp_path / "nowhere")
    assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)
    speed = command("speed", "first", "--cache", cache, "--batches", 1)
    assert "scenes a second" in speed.stdout, speed.stderr
    good = command("check", "--data", data)
    assert good.returncode == 0, good.stderr
    assert "no faults" in good.stdout
    assert "gunshot" in command("stats", "--data", data).stdout
    plot = command("plot", "3", "--data", data, "--to", tmp_path / "clips.png")
    assert plot.returncode == 0, plot.stderr
    assert (tmp_path / "clips.png").read_bytes().startswith(b"\x89PNG")


def test_the_shared_recordings_have_no_group_in_two_splits():
    shared = need_shared()
    faults = [f for f in checks.find_faults(shared / "data", sounds=False) if f.severe]
    assert [f.problem for f in faults if "in more than one split" in f.problem] == []
