"""VGGish and taggers: compared with numpy, read from a checkpoint, and run by `streamdet file`."""

import json
import struct
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest
import soundfile
from conftest import ROOT

from streamdet.detection.jax_engine import JaxEngine
from streamdet.model import bundle, tagger, tagger_bundle, vggish
from streamdet.model.bundle_files import BundleError
from streamdet.model.config import TaggerModelConfig, VggishConfig
from train.audioset import checkpoint
from train.audioset.checkpoint import CheckpointError
from train.audioset.tfrecord import masked_crc
from train.errors import TrainError
from train.tagging.vggish import load_vggish_params, write_complete_bundle

CONFIG = VggishConfig()
log_mel, embed = (jax.jit(partial(f, CONFIG)) for f in (vggish.log_mel, vggish.embed))
SCOPES = {name: name for name in ("conv1", "conv2", "fc2")} | {
    f"{group}_{i}": f"{group}/{group}_{i}" for group in ("conv3", "conv4", "fc1") for i in (1, 2)
}


def random_weights():
    """He-scaled, so that the embeddings stay in the range of the 8 bit quantisation."""
    rng = np.random.default_rng(4)
    flat = {}
    for name, shape in vggish.param_shapes().items():
        fan_in = int(np.prod(shape[:-1])) or 1
        scale = np.sqrt(2.0 / fan_in) if len(shape) > 1 else 0.05
        flat[name] = rng.standard_normal(shape, np.float32) * np.float32(scale)
    flat["pca/vectors"] = flat["pca/vectors"] / 2
    return flat


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def write_checkpoint(path, tensors):
    """Write a table with a block per tensor, in the layout of TensorFlow's version 1 writer."""
    meta = b""
    slices = []
    for name in sorted(tensors):
        dims = b"".join(field(2, field(1, size)) for size in tensors[name].shape)
        meta += field(1, field(1, name.encode()) + field(2, dims) + field(3, 1))
        data = field(1, 1) + field(5, tensors[name].tobytes())
        slices.append((b"\0" + name.encode(), field(2, field(1, name.encode()) + field(3, data))))
    out, index = b"", []

    def add(entries):
        nonlocal out
        body = b"".join(
            varint(0) + varint(len(key)) + varint(len(value)) + key + value
            for key, value in entries
        )
        body += struct.pack("<II", 0, 1) + b"\0"
        at = varint(len(out)) + varint(len(body) - 1)
        out += body + struct.pack("<I", masked_crc(body))
        return at

    for key, value in [(b"", field(1, meta)), *slices]:
        index.append((key, add([(key, value)])))
    footer = add([]) + add(index)
    path.write_bytes(out + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Files in the published layout with random weights: (folder, flat weights)."""
    folder, flat = tmp_path_factory.mktemp("published"), random_weights()
    tensors = {
        f"vggish/{scope}/{theirs}": flat[f"{name}/{ours}"]
        for name, scope in SCOPES.items()
        for theirs, ours in (("weights", "kernel"), ("biases", "bias"))
    }
    write_checkpoint(folder / "vggish_model.ckpt", tensors)
    np.savez(
        folder / "vggish_pca_params.npz",
        pca_eigen_vectors=flat["pca/vectors"],
        pca_means=flat["pca/means"][:, None],
    )
    return folder, flat


def log_mel_by_hand(samples):
    """Log-mel frames (frames, 64), computed bin by bin, of the samples after 15 ms of silence."""
    padded = np.concatenate([np.zeros(240), samples])
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [padded[at : at + 400] * taper for at in range(0, len(samples), 160)]
    spectrum = np.abs(np.fft.fft(frames, 512, axis=-1))[:, :257]
    mel = 1127.0 * np.log(1.0 + np.arange(257) * (16_000 / 512) / 700.0)
    low, high = (1127.0 * np.log(1.0 + f / 700.0) for f in (125.0, 7_500.0))
    edge = [low + (high - low) * i / 65 for i in range(66)]
    bands = np.zeros((len(frames), 64))
    for band in range(64):
        for k in range(1, 257):
            up = (mel[k] - edge[band]) / (edge[band + 1] - edge[band])
            down = (edge[band + 2] - mel[k]) / (edge[band + 2] - edge[band + 1])
            bands[:, band] += max(0.0, min(up, down)) * spectrum[:, k]
    return np.log(bands + 0.01)


def convolved(x, kernel, bias):
    """(96, 64, channels) with zeros around, through a 3 x 3 kernel and a rectifier."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((*x.shape[:2], kernel.shape[-1])) + bias
    for dy in range(3):
        for dx in range(3):
            out += padded[dy : dy + x.shape[0], dx : dx + x.shape[1]] @ kernel[dy, dx]
    return np.maximum(out, 0.0)


def embedded_by_hand(flat, patch):
    x = patch[..., None]
    for name, pooled in zip(
        ("conv1", "conv2", "conv3_1", "conv3_2", "conv4_1", "conv4_2"), (1, 1, 0, 1, 0, 1),
        strict=True,
    ):  # fmt: skip
        x = convolved(x, flat[f"{name}/kernel"], flat[f"{name}/bias"])
        if pooled:
            x = np.maximum(np.maximum(x[::2, ::2], x[1::2, ::2]),
                           np.maximum(x[::2, 1::2], x[1::2, 1::2]))  # fmt: skip
    x = x.reshape(-1)
    for name in ("fc1_1", "fc1_2"):
        x = np.maximum(x @ flat[f"{name}/kernel"] + flat[f"{name}/bias"], 0.0)
    x = x @ flat["fc2/kernel"] + flat["fc2/bias"]
    white = np.clip(flat["pca/vectors"] @ (x - flat["pca/means"]), -2.0, 2.0)
    return ((white + 2.0) * (255.0 / 4.0)).astype(np.uint8)


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype("f")


def test_log_mel_frames_equal_a_bin_by_bin_computation():
    samples = noise(0.96)
    _, frames = log_mel(vggish.init(CONFIG, 1), samples[None])
    np.testing.assert_allclose(frames[0], log_mel_by_hand(samples), atol=2e-4)


def test_embeddings_equal_those_of_a_numpy_network(published):
    folder, flat = published
    params = load_vggish_params(folder / "vggish_model.ckpt", folder / "vggish_pca_params.npz")
    samples = noise(1.92, seed=1)
    _, frames = log_mel(vggish.init(CONFIG, 1), samples[None])
    found = np.asarray(embed(params, frames))[0].astype(int)
    assert found.shape == (2, 128)
    by_hand = log_mel_by_hand(samples).reshape(2, 96, 64)
    for row, patch in zip(found, by_hand, strict=True):
        expected = embedded_by_hand(flat, patch).astype(int)
        assert np.std(expected) > 20
        assert np.abs(row - expected).max() <= 1
        assert np.mean(row != expected) < 0.05


def test_a_checkpoint_that_tensorflow_wrote_is_read():
    """tests/data/v1.ckpt: tf.compat.v1.train.Saver(write_version=1) of TensorFlow 2.21, values
    of numpy's default_rng(3) in this order, beside an int64 that is passed over."""
    rng = np.random.default_rng(3)
    shapes = {
        "vggish/conv1/weights": (3, 3, 1, 2),
        "vggish/conv1/biases": (2,),
        "vggish/fc1/fc1_1/weights": (4, 3),
        "vggish/fc1/fc1_1/biases": (3,),
        "vggish/fc2/weights": (3, 2),
    }
    found = checkpoint.read_checkpoint(ROOT / "tests" / "data" / "v1.ckpt")
    for name, shape in shapes.items():
        np.testing.assert_array_equal(found[name], rng.normal(size=shape).astype("f"))
    assert set(found) == set(shapes)


def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path, published):
    raw = bytearray((ROOT / "tests" / "data" / "v1.ckpt").read_bytes())
    raw[40] ^= 1
    (tmp_path / "damaged").write_bytes(raw)
    (tmp_path / "foreign").write_bytes(b"PK" * 100)
    for name, says in (("damaged", "checksum"), ("foreign", "not a"), ("none", "No such file")):
        with pytest.raises(CheckpointError, match=says):
            checkpoint.read_checkpoint(tmp_path / name)
    folder, _ = published
    with pytest.raises(TrainError, match=r"has no vggish/conv2/weights"):
        load_vggish_params(ROOT / "tests" / "data" / "v1.ckpt", folder / "vggish_pca_params.npz")
    with pytest.raises(TrainError, match=r"Give vggish_pca_params\.npz"):
        load_vggish_params(folder / "vggish_model.ckpt", ROOT / "README.md")


MODEL = TaggerModelConfig(cells=(6,), dense=7, classes=4)
ABOUT = {
    "classes": ["Speech", "Gunshot, gunfire", "Cap gun", "Dog"],
    "gunshots": [1, 2],
    "window": 4,
    "operating_points": {"sensitive": {"threshold": 0.5}},
    "default_point": "sensitive",
}


@pytest.fixture(scope="module")
def complete_tagger(published, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    params = jax.tree.map(np.asarray, tagger.init_params(MODEL, jax.random.key(3)))
    tagger_bundle.save(folder / "bare", "tiny-tagger", MODEL, params, ABOUT)
    theirs = (published[0] / name for name in ("vggish_model.ckpt", "vggish_pca_params.npz"))
    write_complete_bundle(folder / "bare", *theirs, folder / "whole")
    return folder


def test_a_tagger_scores_the_last_embeddings_of_a_stream(complete_tagger):
    """Scores of any block size equal those of single windows."""
    served = bundle.load(complete_tagger / "whole")
    assert served.model.labels == ("gunshot", *ABOUT["classes"])
    samples = noise(0.96 * 6 + 0.3, seed=2)
    streams = [JaxEngine(served, block_frames=n).stream() for n in (1, 3)]
    results = []
    for stream, chunk in zip(streams, (997, 40_000), strict=True):
        frames = []
        for at in range(0, len(samples), chunk):
            frames += stream.feed(samples[at : at + chunk])
        results.append([np.concatenate(x) for x in zip(*(frames + stream.finish()), strict=True)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    scores, flux, level, _ = results[0]
    assert scores.shape == (7, 5)
    assert flux.shape == (7, 96)
    np.testing.assert_allclose(level[:6].mean(), 0.01, rtol=0.1)
    np.testing.assert_array_equal(scores[:, 0], scores[:, 2:4].max(axis=1))
    _, logs = log_mel(vggish.init(CONFIG, 1), samples[None, : 96 * 160 * 6])
    patches = np.asarray(embed(served.params["vggish"], logs))[0]
    for i in range(6):
        window = patches[max(0, i - 3) : i + 1]
        logits = tagger.logits(
            MODEL, served.params["tagger"], window[None], np.array([len(window)])
        )
        np.testing.assert_allclose(scores[i, 1:], jax.nn.sigmoid(logits)[0], atol=1e-4)


def test_streamdet_file_runs_a_tagger(complete_tagger, tmp_path):
    soundfile.write(tmp_path / "noise.wav", noise(5.0), 16_000)
    command = [sys.executable, "-m", "streamdet", "file", str(tmp_path / "noise.wav")]
    asked = [*command, "--threshold", "0.01", "--format", "jsonl", "--model"]
    done = subprocess.run([*asked, str(complete_tagger / "whole")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (event,) = map(json.loads, done.stdout.splitlines())
    assert event["model"]["name"] == "tiny-tagger"
    assert set(event["labels"]) == {"gunshot", *ABOUT["classes"]}
    assert 0.0 <= event["onset_s"] < event["offset_s"] <= 5.76
    done = subprocess.run([*asked, str(complete_tagger / "bare")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "python -m train vggish" in done.stderr


def test_a_taggers_card_must_name_its_classes(complete_tagger, tmp_path):
    whole = complete_tagger / "whole"
    for name in ("weights.safetensors", "vggish.safetensors"):
        (tmp_path / name).symlink_to(whole / name)
    card = json.loads((whole / "card.json").read_text())
    for wrong, says in (
        ({"gunshots": []}, "the classes do not fit"),
        ({"classes": ["a"]}, "the classes do not fit"),
        ({"gunshots": [9]}, "the classes do not fit"),
        ({"default_point": "x"}, "not among"),
        ({"vggish_sha256": "0"}, "sha256 differs"),
    ):
        (tmp_path / "card.json").write_text(json.dumps({**card, **wrong}))
        with pytest.raises(BundleError, match=says):
            bundle.load(tmp_path)
