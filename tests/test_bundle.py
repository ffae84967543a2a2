"""Bundles: loading, saving, and one-line errors for damaged or foreign files."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
from conftest import records, streamdet

from streamdet import demo
from streamdet.model import bundle as bundles
from streamdet.model.bundle import BundleError


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(bundles.ZOO / bundles.DEFAULT, tmp_path / "mine")


def edit(folder, **changes):
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder, match):
    with pytest.raises(BundleError, match=match) as caught:
        bundles.load(folder)
    assert "\n" not in str(caught.value)


def test_the_card_of_the_default_bundle_is_complete():
    bundle = bundles.load()
    assert bundle.model.labels[0] == "gunshot"
    assert {"sensitive", "balanced", "strict"} <= set(bundle.operating_points)
    thresholds = [bundle.operating_points[p].threshold for p in ("sensitive", "balanced", "strict")]
    assert thresholds == sorted(thresholds)
    card = bundle.card
    assert card["seed"] is not None
    assert card["commit"]
    assert all(source["source"] and source["licence"] for source in card["data"])


def test_a_saved_bundle_loads_unchanged(tmp_path):
    one = bundles.load()
    bundles.save(
        tmp_path, name="x", version="9", frontend=one.frontend, model=one.model,
        params=one.params, operating_points=one.operating_points, default_point="strict",
        about={"seed": 4}, verifier=one.verifier,
    )  # fmt: skip
    two = bundles.load(tmp_path)
    assert (two.name, two.version, two.default_point, two.card["seed"]) == ("x", "9", "strict", 4)
    assert two.sha256 == one.sha256
    np.testing.assert_array_equal(
        two.params["lstm_0"]["recurrent_kernel"], one.params["lstm_0"]["recurrent_kernel"]
    )


def test_a_flipped_bit_is_detected(copy):
    weights = copy / "weights.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    refused(copy, "sha256")


def test_tensors_that_do_not_fit_the_card_are_refused(copy):
    import hashlib

    flat = safetensors.numpy.load_file(copy / "weights.safetensors")
    flat["extra/kernel"] = np.zeros(3, np.float32)
    raw = safetensors.numpy.save(flat)
    (copy / "weights.safetensors").write_bytes(raw)
    edit(copy, sha256=hashlib.sha256(raw).hexdigest())
    refused(copy, "extra/kernel")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"schema": "other/1"}, "not a card of streamdet.bundle/1"),
        ({"default_point": "wild"}, "wild"),
        ({"frontend": {"hop": 160, "colour": "red"}}, "colour"),
        ({"model": {"bands": 64}}, "conv"),
        ({"operating_points": {"balanced": {"threshold": "high"}}}, "high"),
        ({"operating_points": []}, "card"),
    ],
)
def test_an_invalid_card_is_refused(copy, changes, match):
    edit(copy, **changes)
    refused(copy, match)


def test_a_missing_file_is_named(tmp_path, copy):
    refused(tmp_path / "nowhere", "nowhere")
    (copy / "weights.safetensors").unlink()
    refused(copy, r"weights\.safetensors")
    (copy / "card.json").write_text("{")
    refused(copy, "not JSON")


def test_every_shipped_bundle_detects_the_shots_of_the_demo():
    names = sorted(folder.name for folder in bundles.ZOO.iterdir() if folder.is_dir())
    assert {"tiny", bundles.DEFAULT} <= set(names)
    for name in names:
        done = streamdet("file", demo.PATH, "--model", bundles.ZOO / name, "--format", "jsonl")
        assert len(records(done.stdout)) == len(demo.ONSETS_S)
