"""Adaptation of detectors and taggers to own clips, with old clips and without, and freezing."""

import csv
import json
from dataclasses import asdict, replace

import jax
import numpy as np
import pytest
from conftest import train
from records import example_of
from taggers import SMALL as TAGGER
from taggers import class_list, clips, stored
from test_train import SMALL as DETECTOR

from streamdet.model import bundle as bundles
from streamdet.model import network, tagger, tagger_bundle
from streamdet.model.bundle import OperatingPoint
from train.audioset import tfrecord
from train.audioset.store import convert_records
from train.data import mixtures, subset
from train.data.corpus import Corpus, CorpusError
from train.data.mixing import Mixer
from train.data.table import read_rows
from train.detector import adaptation, freezing, journal, loop
from train.errors import TrainError
from train.markdown import format_markdown_table

OLD_CLIPS = {"source": "old", "licence": "CC0", "clips": 7}


@pytest.fixture(scope="module")
def val(cache, tmp_path_factory):
    folder, corpus = tmp_path_factory.mktemp("val"), Corpus(cache)
    rare, film = (
        mixtures.make_rare_mixtures(corpus, "val", 1, 4, (6.0,)),
        mixtures.make_film_mixtures(corpus, "val", 1, 1),
    )
    mixtures.write_mixtures([*rare, *film], folder)
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    bundles.save(
        folder, name="tiny", version="1", frontend=DETECTOR.frontend, model=DETECTOR.model,
        params=jax.tree.map(np.asarray, network.init_params(DETECTOR.model, jax.random.key(0))),
        operating_points={"sensitive": OperatingPoint(0.5, {})}, default_point="sensitive",
        about={"config": asdict(replace(DETECTOR, band_mask=0.1))},
    )  # fmt: skip
    return bundles.load(folder)


def test_own_clips_have_the_requested_share(cache):
    old, both = Corpus(cache), Corpus(cache, cache)
    assert [c.own for c in both.clips] == [False] * 40 + [True] * 40
    np.testing.assert_array_equal(both.read_samples(both.clips[41]), old.read_samples(old.clips[1]))
    assert both.describe()["own"] == 40
    assert both.describe()["sha256"] != old.describe()["sha256"]
    rng = np.random.default_rng(0)
    mixer = Mixer(both, replace(DETECTOR.mix, own_share=0.25))
    drawn = [mixer.near.draw(rng).own for _ in range(2_000)]
    assert np.mean(drawn) == pytest.approx(0.25, abs=0.03)
    alone = Mixer(both, replace(DETECTOR.mix, own_share=1.0))
    assert all(alone.near.draw(rng).own for _ in range(50))


def test_training_on_own_clips_alone_draws_only_the_kinds_that_there_are(cache):
    both = Corpus(cache, cache)
    both.clips = [c for c in both.clips if not c.own or c.head in ("gunshot", "fireworks")]
    mixer = Mixer(both, replace(DETECTOR.mix, own_share=1.0))
    rng = np.random.default_rng(0)
    assert {mixer.draw_negative_clip(rng).head for _ in range(50)} == {"fireworks"}
    both.clips = [c for c in both.clips if c.head != "gunshot"]
    with pytest.raises(CorpusError, match="no gunshot"):
        Mixer(both, DETECTOR.mix)


def test_frozen_layers_are_the_lower_ones():
    groups = network.layer_names(DETECTOR.model)
    named = {name for group in groups for name in group}
    assert named == set(network.init_params(DETECTOR.model, jax.random.key(0)))
    assert freezing.list_frozen_layers(groups, len(groups)) == ()
    assert "head" not in freezing.list_frozen_layers(groups, 1)
    assert set(freezing.list_frozen_layers(groups, 1)) == named - {"head"}
    with pytest.raises(TrainError, match="1 to 5 can be trained, from the head down: head"):
        freezing.list_frozen_layers(groups, 6)
    for model in (
        TAGGER.model,
        tagger.TaggerModelConfig(pooling="last_state", cells=(3, 3), mixtures=2),
    ):
        named = {name for group in tagger.layer_names(model) for name in group}
        assert named == set(tagger.init_params(model, jax.random.key(0)))


@pytest.mark.parametrize(("share", "layers"), [(0.4, 0), (1.0, 1)])
def test_a_detector_learns_from_own_clips(
    detector, data, cache, val, tmp_path, small_validation, share, layers, capsys
):
    request = adaptation.AdaptationRequest(data, share, steps=4, rate=1e-2, layers=layers)
    asked = (cache, tmp_path / "run", val, tmp_path / "made", data, 0)
    before, after = adaptation.adapt_detector(detector, request, "adapted", *asked)
    made = bundles.load(tmp_path / "made")
    assert made.name == "tiny-adapted"
    unchanged = {
        layer: all(np.array_equal(x, made.params[layer][k]) for k, x in tensors.items())
        for layer, tensors in detector.params.items()
    }
    assert unchanged == {layer: bool(layers) and layer != "head" for layer in unchanged}
    assert list(before) == list(after)
    assert before["hits"].endswith("/ 2")
    assert before["old hits"] == before["hits"]
    about = journal.read_summary(tmp_path / "run")
    assert about["data"]["own"] == 40
    assert about["config"]["mix"]["own_share"] == share
    assert len(format_markdown_table([before, after]).splitlines()) == 4
    assert (tmp_path / "run" / "tensorboard").is_dir()
    config = adaptation.make_adaptation_config(detector, request, "adapted")
    assert int(loop.fit(config, cache, tmp_path / "run", 0).step) == 4
    assert "continuing" not in capsys.readouterr().err


def test_an_adaptation_whose_run_ends_early_is_exported_and_refuses_other_inputs(
    detector, data, cache, val, tmp_path, small_validation, monkeypatch
):
    make = adaptation.make_adaptation_config
    monkeypatch.setattr(
        adaptation, "make_adaptation_config", lambda *asked: replace(make(*asked), until_loss=1e9)
    )
    request = adaptation.AdaptationRequest(data, share=0.4, steps=4, rate=1e-2)
    asked = (cache, tmp_path / "run", val, tmp_path / "made")
    rows = adaptation.adapt_detector(detector, request, "adapted", *asked, workers=0)
    assert [row["model"] for row in rows] == ["before", "after"]
    assert journal.read_summary(tmp_path / "run")["last"]["step"] == 1
    with pytest.raises(TrainError, match=r"run: holds a run with another base bundle\. Remove"):
        adaptation.adapt_detector(replace(detector, sha256="0"), request, "adapted", *asked)
    (tmp_path / "fewer").mkdir()
    lines = (data / "manifest.csv").read_text().splitlines(keepends=True)
    (tmp_path / "fewer" / "manifest.csv").write_text("".join(lines[:-1]))
    fewer = replace(request, data=tmp_path / "fewer")
    with pytest.raises(TrainError, match="run: holds a run with other clips of yours"):
        adaptation.adapt_detector(detector, fewer, "adapted", *asked)
    with pytest.raises(CorpusError, match=r"nowhere.manifest\.csv: no such file"):
        adaptation.adapt_detector(
            detector, replace(request, data=tmp_path / "nowhere"), "adapted", *asked
        )


def test_a_detectors_run_ends_by_loss_and_saves_the_losses_that_it_passes(
    cache, tmp_path, small_validation
):
    config = replace(DETECTOR, steps=40, until_loss=1e9, keep_at=(1e9, 1e-9))
    state = loop.fit(config, cache, tmp_path, workers=0)
    assert int(state.step) == 1
    assert journal.read_summary(tmp_path)["ended_by"].startswith("a loss of")
    assert bundles.load(tmp_path / "at-1e+09").default_point == "uncalibrated"
    assert not (tmp_path / "at-1e-09").exists()
    patient = replace(DETECTOR, steps=40, patience=1, validate_every=2, learning_rate=0.0,
                      matrix_rate=0.0)  # fmt: skip
    loop.fit(patient, cache, tmp_path / "patient", workers=0)
    assert journal.read_summary(tmp_path / "patient")["ended_by"].startswith("1 validations")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    stored(folder)
    class_list(folder)
    params = jax.tree.map(np.asarray, tagger.init_params(TAGGER.model, jax.random.key(0)))
    about = {"config": asdict(TAGGER), "data": [OLD_CLIPS]}
    tagger_bundle.save(folder / "base", "base", TAGGER.model, params, about)
    return folder


def test_a_tagger_learns_from_own_clips(store, tmp_path):
    own = ("--own", store / "store", "--classes", store, "--steps", 30, "--rate", 0.02)
    asked = ("adapt", store / "base", tmp_path / "made", *own, "--run", tmp_path / "run")
    done = train(*asked, "--records", store / "store", "--share", 0.5)
    assert done.returncode == 0, done.stderr
    head, _, before, after = (line.strip("| ").split(" | ") for line in done.stdout.splitlines())
    before, after = dict(zip(head, before, strict=True)), dict(zip(head, after, strict=True))
    assert "hit at 1" in after
    assert float(after["map"]) > float(before["map"]) + 0.2
    _, params, card = tagger_bundle.load(tmp_path / "made")
    assert card["name"] == "base-adapted"
    assert "old_map" in json.loads((tmp_path / "run" / "run.json").read_text())["best"]
    base = tagger_bundle.load(store / "base")[1]
    assert not np.array_equal(params["dense"]["kernel"], base["dense"]["kernel"])


def test_a_taggers_head_is_replaced_for_other_classes(store, tmp_path):
    """Two own classes on a frozen trunk."""
    made = [replace(c, labels=(int(c.labels[0] == 1),)) for c in clips()]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.tfrecord").write_bytes(
        b"".join(tfrecord.frame_payload(example_of(c)) for c in made)
    )
    convert_records(tmp_path / "own", tmp_path / "store")
    (tmp_path / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/o,"Other"\n1,/g,"Gunshot, gunfire"\n'
    )
    (tmp_path / "ontology.json").write_text(
        json.dumps([{"id": "/g", "name": "Gunshot, gunfire", "child_ids": []}])
    )
    own = ("--own", tmp_path / "store", "--classes", tmp_path, "--steps", 60, "--rate", 0.05)
    asked = ("transfer", store / "base", tmp_path / "made", *own, "--run", tmp_path / "run")
    done = train(*asked, "--held-out", 0.4)
    assert done.returncode == 0, done.stderr
    (row,) = done.stdout.splitlines()[2:]
    assert row.startswith("| after |")
    model, params, card = tagger_bundle.load(tmp_path / "made")
    assert (model.classes, card["gunshots"]) == (2, [1])
    old, added = card["data"]
    assert old == OLD_CLIPS
    assert (added["source"], added["clips"]) == ("own clips (own)", 80)
    base = tagger_bundle.load(store / "base")[1]
    np.testing.assert_array_equal(params["dense"]["kernel"], base["dense"]["kernel"])
    assert params["votes"]["kernel"].shape[1] == 2
    wrong = train("adapt", store / "base", tmp_path / "x", "--own", tmp_path, "--share", 1)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    wrong = train(*asked[:-1], tmp_path / "other", "--layers", 9)
    assert wrong.returncode == 2
    assert "1 to 3 can be trained" in wrong.stderr
    others = (*asked[:4], store / "store", *asked[5:])
    wrong = train(*others, "--held-out", 0.4)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert "run: holds a run with other clips of yours. Remove the folder" in wrong.stderr
    (tmp_path / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/o,"Other"\n1,/b,"Bang"\n'
    )
    wrong = train(*asked[:-1], tmp_path / "third")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert "no class of class_labels_indices.csv is 'Gunshot, gunfire'" in wrong.stderr
    assert not (tmp_path / "third").exists()


def test_a_data_folder_is_split_by_sources(data, tmp_path):
    rows = read_rows(data / "manifest.csv")
    for row in rows:
        row["source"] = "far" if row["label"] == "rain" else "near"
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "audio").symlink_to(data / "audio")
    with (mixed / "manifest.csv").open("w", newline="") as sink:
        table = csv.DictWriter(sink, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    assert (
        subset.write_subset(mixed, tmp_path / "far", {"label": "rain"}, "source", others=False) == 6
    )
    done = train("data", "select", tmp_path / "near", "--data", mixed, "--having", "label=rain",
                 "--others")  # fmt: skip
    assert done.stdout.startswith("54 clips")
    part = read_rows(tmp_path / "near" / "manifest.csv")
    assert all((tmp_path / "near" / row["path"]).is_file() for row in part)
    for having, says in (("label", "not COLUMN=VALUE"), ("tint=red", "no column tint"),
                         ("label=none", "no clip matches")):  # fmt: skip
        wrong = train("data", "select", tmp_path / "x", "--data", mixed, "--having", having)
        assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
        assert says in wrong.stderr
