"""Taggers on synthetic clips: padding, training, the end of a run, resuming, and export."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, train
from taggers import LAST, LONGER, OURS, SMALL, class_list

from streamdet.model import tagger, tagger_bundle, vggish
from streamdet.model.bundle_files import BundleError
from streamdet.model.config import TaggerModelConfig
from train.audioset import batches, metrics, tfrecord
from train.audioset.batches import ClipBatch
from train.audioset.clips import dequantise
from train.audioset.store import ClipStore, convert_records
from train.detector import config as configs
from train.detector import journal
from train.detector.config import UnknownConfigError
from train.errors import TrainError
from train.tagging import calibration, loop, scoring, study, teachers
from train.tagging import clips as clips_of_run
from train.tagging.config import TaggerConfig
from train.tagging.export import export_tagger


def frames_of(seed=0, rows=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows, 10, 128), dtype=np.uint8), np.array([10, 7, 1])


@pytest.mark.parametrize(
    "model",
    [
        LAST,
        replace(LAST, mixtures=0),
        replace(LAST, calibrated=True),
        OURS,
        replace(OURS, cells=()),
        replace(OURS, both_ways=False, cells=(5, 6), skip=True),
    ],
)
def test_padding_after_the_end_of_a_clip_changes_nothing(model):
    params = tagger.init_params(model, jax.random.key(0))
    frames, lengths = frames_of()
    said = tagger.logits(model, params, frames, lengths)
    assert said.shape == (3, 4)
    other = frames.copy()
    other[1, 7:], other[2, 1:] = 9, 200
    np.testing.assert_allclose(tagger.logits(model, params, other, lengths), said, atol=1e-5)
    other[:, 0] ^= 255
    assert np.abs(tagger.logits(model, params, other, lengths) - said).max(axis=1).min() > 1e-4


def test_the_lstm_matches_flaxs_cells():
    """An independent LSTM with the same weights ends in the same states."""
    model = TaggerModelConfig(pooling="last_state", cells=(6,), mixtures=0, classes=4)
    params = tagger.init_params(model, jax.random.key(1))
    frames, lengths = frames_of()
    x = dequantise(frames)
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    ours, names = params["lstm_0"], ("i", "f", "g", "o")
    theirs = {}
    for k, name in enumerate(names):
        at = slice(6 * k, 6 * k + 6)
        theirs[f"i{name}"] = {"kernel": ours["input_kernel"][:, at]}
        theirs[f"h{name}"] = {
            "kernel": ours["recurrent_kernel"][:, at], "bias": ours["bias"][at],
        }  # fmt: skip
    cell = nn.OptimizedLSTMCell(6)
    for row, length in enumerate(lengths):
        carry = (jnp.zeros((1, 6)), jnp.zeros((1, 6)))
        for t in range(length):
            carry, _ = cell.apply({"params": theirs}, carry, x[row : row + 1, t])
        state = np.concatenate(carry, axis=-1)
        said = state @ params["logistic"]["kernel"] + params["logistic"]["bias"]
        found = tagger.logits(model, params, frames, lengths)[row]
        np.testing.assert_allclose(found, said[0], atol=1e-5)


def test_a_mixture_of_experts_matches_its_formula():
    params = tagger.init_params(LAST, jax.random.key(2))
    frames, lengths = frames_of()
    lstms = {name: x for name, x in params.items() if name not in ("gates", "experts")}
    identity = {"kernel": np.eye(22, dtype="f"), "bias": np.zeros(22, "f")}
    plain = replace(LAST, mixtures=0, classes=22)
    state = tagger.logits(plain, {**lstms, "logistic": identity}, frames, lengths)
    gates = (state @ params["gates"]["kernel"]).reshape(3, 4, 3)
    gates = np.exp(gates) / np.exp(gates).sum(axis=-1, keepdims=True)
    votes = state @ params["experts"]["kernel"] + params["experts"]["bias"]
    p = (gates[..., :2] / (1 + np.exp(-votes.reshape(3, 4, 2)))).sum(axis=-1)
    logits = tagger.logits(LAST, params, frames, lengths)
    np.testing.assert_allclose(jax.nn.sigmoid(logits), p, atol=1e-5)


def test_features_are_the_dequantised_frames():
    frames = np.arange(256, dtype=np.uint8).reshape(1, 2, 128)
    np.testing.assert_allclose(
        vggish.dequantise(jnp.asarray(frames)), dequantise(frames), atol=1e-6
    )


def test_a_run_learns_resumes_exactly_and_records_why_it_ended(store, tmp_path):
    lines = []
    whole = loop.fit(SMALL, store, tmp_path / "whole", report=lines.append)
    assert whole["ended_by"] == "the last step"
    assert whole["best"]["map"] > 0.6
    cut = loop.fit(SMALL, store, tmp_path / "cut", hours=0.0, report=lines.append)
    assert cut["ended_by"].startswith("its time")
    assert cut["last"]["step"] == 4
    again = loop.fit(SMALL, store, tmp_path / "cut", report=lines.append)
    assert lines[-1] != "continuing from step 4" in lines
    timeless = [{k: v for k, v in run["last"].items() if k != "seconds"} for run in (whole, again)]
    assert timeless[0] == timeless[1]
    assert (tmp_path / "cut" / "run.json").is_file()
    (tmp_path / "cut" / "run.json").unlink()  # as if it had been killed after its last checkpoint
    last = loop.fit(SMALL, store, tmp_path / "cut", report=lines.append)
    assert last == again
    best = teachers.load_best_params(SMALL, tmp_path / "cut")
    ours, held = clips_of_run.split_clips(ClipStore(store), SMALL.validation)
    assert sorted([*ours, *held]) == list(range(80))
    assert 4 <= len(held) <= 30
    in_order = batches.batch_in_order((ClipStore(store)[n] for n in held), 512, 4)
    scores, truth = scoring.score_batches(SMALL.model, best, in_order)
    assert scores.shape == truth.shape == (len(held), 4)
    assert again["best"]["map"] == round(metrics.compute_metrics(scores, truth)["map"], 4)


def test_a_run_ends_at_a_loss_or_when_patience_is_exhausted(store, tmp_path):
    quiet = replace(SMALL, steps=400, validate_every=100, checkpoint_every=400, mixup=0.0,
                    missing=0.0, dropout=0.0)  # fmt: skip
    ended = loop.fit(replace(quiet, until_loss=1.5), store, tmp_path / "a", report=lambda _: None)
    assert ended["ended_by"].startswith("a loss of")
    assert ended["last"]["step"] < 400
    again = loop.fit(replace(quiet, until_loss=1.5), store, tmp_path / "a", report=lambda _: None)
    assert again["last"] == ended["last"]
    with pytest.raises(TrainError, match="another config"):
        loop.fit(quiet, store, tmp_path / "a", report=lambda _: None)
    waiting = replace(quiet, patience=2, validate_every=5)
    ended = loop.fit(waiting, store, tmp_path / "b", report=lambda _: None)
    assert ended["ended_by"] == "2 validations without a better map"


def test_a_tagger_is_exported_and_scores_any_records(store, tmp_path):
    run, to = tmp_path / "run", tmp_path / "tagger"
    class_list(tmp_path)
    with pytest.raises(TrainError, match="no ended run"):
        export_tagger(SMALL, run, store, tmp_path, to)
    ended = loop.fit(SMALL, store, run, report=lambda _: None)
    (tmp_path / "other").mkdir()
    class_list(tmp_path / "other")
    ontology = json.loads((tmp_path / "ontology.json").read_text())
    ontology[1] |= {"id": "/x", "child_ids": []}
    (tmp_path / "other" / "ontology.json").write_text(json.dumps(ontology))
    with pytest.raises(TrainError, match=r"other: no class of .* is 'Gunshot, gunfire' or"):
        export_tagger(SMALL, run, store, tmp_path / "other", to)
    export_tagger(SMALL, run, store, tmp_path, to)
    model, _, card = tagger_bundle.load(to)
    assert model == replace(OURS, calibrated=True)
    changed = card["calibration"]
    assert changed["avg_loss"] < changed["avg_loss_before"]
    assert card["held_out"] == ended["best"]
    assert card["data"][0]["clips"] == 80
    assert (card["gunshots"], card["classes"][1]) == ([1, 2], "Gunshot, gunfire")
    point = card["operating_points"]["sensitive"]
    assert 0.0 < point["threshold"] < 1.0
    assert point["figures"]["held_out"]["recall"] > 0.5
    asked = ("evaluate", "--records", store.parent, "--classes", tmp_path, "--json")
    figures = json.loads(train(*asked, "--bundle", to).stdout)
    assert {"hit_at_1", "perr", "map", "gap", "avg_loss", "macro_map", "ap_any_gunshot"} <= set(
        figures
    )
    assert figures["clips"] == 80
    assert figures["map"] > 0.5
    assert set(figures["ap_by_gunshot"]) == {"Gunshot, gunfire", "Cap gun"}
    both = json.loads(train(*asked, "--bundle", to, "--bundle", to).stdout)
    assert both["tagger"] == "tiny + tiny"
    assert both["map"] == pytest.approx(figures["map"], abs=1e-3)
    for wrong, says in ((asked, "--bundle"), ((*asked, "--bundle", tmp_path), r"card.json")):
        done = train(*wrong)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert says in done.stderr
    for damaged, says in (
        ({"sha256": "0"}, "Copy the bundle again"),
        ({"schema": "x"}, "not a"),
        ({"model": {**card["model"], "dense": 9}}, "tensors do not fit"),
    ):
        (to / "card.json").write_text(json.dumps({**card, **damaged}))
        with pytest.raises(BundleError, match=says):
            tagger_bundle.load(to)


def test_mixing_a_clip_with_itself_changes_nothing():
    frames = np.repeat(frames_of()[0][:1], 2, axis=0)
    alike = ClipBatch(frames, np.array([10, 10]), np.ones((2, 4), "f") * [0, 1, 0, 1])
    other = alike._replace(labels=np.eye(2, 4, dtype="f"))
    mixed, plain = (replace(SMALL, dropout=0.0, mixup=m) for m in (0.4, 0.0))
    loss = {(c.mixup, b is alike): float(loop.train_step(c, loop.create_state(c), b)[1])
            for c in (mixed, plain) for b in (alike, other)}  # fmt: skip
    assert loss[0.4, True] == pytest.approx(loss[0.0, True], abs=1e-5)
    assert loss[0.4, False] != pytest.approx(loss[0.0, False], abs=1e-3)


def test_a_taggers_config_is_not_a_detectors():
    assert isinstance(configs.load_config("lstm_yt8m"), TaggerConfig)
    with pytest.raises(UnknownConfigError, match="a tagger's config"):
        configs.load_detector_config("lstm_yt8m")
    assert "lstm_yt8m" in (ROOT / "docs" / "audioset.md").read_text()


def test_weights_at_losses_are_saved_scored_and_plotted(store, tmp_path):
    config = replace(SMALL, steps=150, mixup=0.0, missing=0.0, dropout=0.0, validate_every=10,
                     keep_at=(2.0, 1.5, 1e-6))  # fmt: skip
    run = tmp_path / "run"
    with pytest.raises(TrainError, match="no finished validation"):
        study.score_levels(config, run, store.parent, tmp_path)
    loop.fit(config, store, run, report=lambda _: None)
    class_list(tmp_path)
    rows = study.score_levels(config, run, store.parent, tmp_path)
    assert {"2", "1.5", "validation optimum"} == {row["loss"] for row in rows}
    first, second = (next(r for r in rows if r["loss"] == name) for name in ("2", "1.5"))
    assert first["step"] < second["step"]
    assert 1.5 < first["train_loss"] < 2.0
    table = study.write_study(rows, config.name, tmp_path / "docs")
    assert len(table.splitlines()) == 5
    assert json.loads((tmp_path / "docs" / "study.json").read_text()) == rows
    assert (tmp_path / "docs" / "study.png").stat().st_size > 10_000


def test_a_teachers_probabilities_are_mixed_into_the_labels(store, tmp_path, monkeypatch):
    taught = replace(SMALL, teachers=("wise",), taught_share=0.25)
    clips_of = (taught, store, None, tmp_path)
    with pytest.raises(TrainError, match="no config 'wise'"):
        clips_of_run.TaggerClips(*clips_of)
    monkeypatch.setattr(configs, "load_config", lambda name: replace(SMALL, name=name))
    with pytest.raises(TrainError, match="its teacher wise has no ended run"):
        clips_of_run.TaggerClips(*clips_of)
    loop.fit(SMALL, store, tmp_path / "wise", report=lambda _: None)
    plain = next(clips_of_run.TaggerClips(SMALL, *clips_of[1:]).iter_batches(0)).labels
    labels = next(clips_of_run.TaggerClips(*clips_of).iter_batches(0)).labels
    assert np.all((labels > 0.0) & (labels < 1.0))
    np.testing.assert_array_equal(labels > 0.5, plain > 0.5)
    assert np.abs(labels - plain).max() <= 0.25


def test_a_killed_run_resumes_to_the_same_metrics(store, tmp_path):
    """Killed in the middle of a step, as when the machine fails."""
    body = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from taggers import LONGER; from train.tagging import loop\n"
        "loop.fit(LONGER, Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", body, str(store)]
    with subprocess.Popen([*command, str(tmp_path / "killed")], cwd=ROOT) as process:
        while not list((tmp_path / "killed").glob("checkpoints/[1-9]*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not (tmp_path / "killed" / "run.json").exists()
    for name in ("killed", "whole"):
        loop.fit(LONGER, store, tmp_path / name, report=lambda _: None)
    logs = [
        [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in journal.read_journal(tmp_path / name)
        ]
        for name in ("killed", "whole")
    ]
    assert logs[0] == logs[1]
    assert logs[0][-1]["step"] == LONGER.steps


def test_twenty_steps_on_real_records(tmp_path):
    """On AudioSet's first shards the loss falls."""
    archive = ROOT.parent / "shared" / "data" / "audioset" / "bal_train.tar.xz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there: this test needs AudioSet's records")
    (tmp_path / "shards").mkdir()
    for i, (_, file) in zip(range(40), tfrecord.open_shards(archive), strict=False):
        (tmp_path / "shards" / f"{i}.tfrecord").write_bytes(file.read())
    about = convert_records(tmp_path / "shards", tmp_path / "store")
    assert about["clips"] > 150
    config = replace(SMALL, steps=20, batch=32, model=TaggerModelConfig(cells=(32,), dense=64),
                     validate_every=20, checkpoint_every=20, learning_rate=1e-2)  # fmt: skip
    state, losses = loop.create_state(config), []
    for batch in clips_of_run.TaggerClips(config, tmp_path / "store", None, tmp_path).iter_batches(
        0
    ):
        state, loss = loop.train_step(config, state, batch)
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]
    ended = loop.fit(config, tmp_path / "store", tmp_path / "run", report=lambda _: None)
    assert ended["last"]["hit_at_1"] > 0.1


def test_a_calibration_recovers_the_true_odds():
    rng = np.random.default_rng(0)
    shares = np.array([0.3, 0.1, 0.02])
    true_odds = rng.normal(0, 1.5, (20_000, 3)) + np.log(shares)
    truth = rng.random((20_000, 3)) < 1 / (1 + np.exp(-true_odds))
    said = 1 / (1 + np.exp(-(true_odds / 1.5 + 0.4 - 0.3 * np.log(shares))))
    scale, bias = calibration.fit_calibration(said, truth, shares)
    assert scale == pytest.approx(1.5, rel=0.05)
    after = calibration.apply_calibration(said, scale, bias)
    np.testing.assert_allclose(calibration.compute_log_odds(after), true_odds, atol=0.3)
    assert metrics.average_loss(after, truth) < metrics.average_loss(said, truth)


def test_the_shipped_tagger_labels_real_clips(tmp_path):
    zoo = ROOT / "train" / "zoo" / "audioset-lstm"
    assert sum(path.stat().st_size for path in zoo.iterdir()) < 20e6
    card = tagger_bundle.load(zoo)[2]
    assert len(card["classes"]) == 527
    assert {card["classes"][c] for c in card["gunshots"]} >= {"Gunshot, gunfire", "Machine gun"}
    folder = ROOT.parent / "shared" / "data" / "audioset"
    if not (folder / "eval_half.tar.xz").is_file():
        pytest.skip(f"{folder} is not there: this test needs AudioSet's records")
    for i, (_, file) in zip(
        range(60), tfrecord.open_shards(folder / "eval_half.tar.xz"), strict=False
    ):
        (tmp_path / f"{i}.tfrecord").write_bytes(file.read())
    figures = scoring.evaluate_taggers([zoo], tmp_path, folder)
    assert figures["clips"] > 200
    assert figures["hit_at_1"] > 0.45
    assert figures["avg_loss"] < 10.0
