"""AudioSet's records and metrics: worked examples, damage, and an independent implementation."""

import io
import json
import struct
import tarfile
from functools import partial
from itertools import chain

import numpy as np
import pytest
from conftest import need_shared, train
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from records import example_of
from sklearn.metrics import average_precision_score, roc_auc_score

from train import ranking
from train.audioset import batches, classes, clips, metrics, tfrecord
from train.audioset.clips import AudioSetClip, AudioSetClipError
from train.audioset.store import ClipStore, convert_records
from train.errors import TrainError


def clip(name="abc", labels=(1, 526), count=10, seed=0):
    frames = np.random.default_rng(seed).integers(0, 256, (count, 128), dtype=np.uint8)
    return AudioSetClip(name, 30.0, 40.0, labels, frames)


def same(one, other):
    assert (one.video_id, one.start_s, one.end_s, one.labels) == (
        other.video_id, other.start_s, other.end_s, other.labels,
    )  # fmt: skip
    np.testing.assert_array_equal(one.frames, other.frames)


@pytest.mark.parametrize("count", [1, 9, 10])
def test_a_clip_comes_out_of_a_record_as_it_went_in(count):
    c = clip("-ü_0", (0, 300), count)
    same(clips.parse_clip(example_of(c)), c)
    same(clips.unpack_clip(clips.pack_clip(c)), c)


def test_a_payload_that_is_not_a_clip_is_refused_with_a_reason():
    with pytest.raises(AudioSetClipError, match="SequenceExample"):
        clips.parse_clip(b"\xff\xff\xff")
    with pytest.raises(AudioSetClipError, match="no video_id"):
        clips.parse_clip(b"")
    with pytest.raises(AudioSetClipError, match="128 bytes"):
        clips.parse_clip(
            example_of(AudioSetClip("a", 0.0, 10.0, (1,), np.zeros((3, 64), np.uint8)))
        )


def test_values_are_the_middles_of_their_quantisation_steps():
    levels = np.linspace(-2.0, 2.0, 255, endpoint=False)
    quantised = ((levels + 2.0) * (255.0 / 4.0)).astype(np.uint8)
    back = clips.dequantise(quantised)
    assert np.abs(back - levels).max() < 4.0 / 255.0
    assert clips.dequantise(np.array([0, 255], np.uint8)).tolist() == pytest.approx(
        [-1.9921875, 2.0078125]
    )


def test_a_checksum_is_that_of_the_format(tmp_path):
    """CRC-32C of '123456789' is 0xe3069283 (RFC 3720, appendix B.4, has the polynomial)."""
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert tfrecord.masked_crc(b"123456789") == (rotated + 0xA282EAD8) & 0xFFFFFFFF


def shard_of(tmp_path, *payloads):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"".join(tfrecord.frame_payload(p) for p in payloads))
    return path


def read(path):
    damage = []
    with path.open("rb") as file:
        found = [p for _, _, p in tfrecord.read_payloads(file, path.name, damage.append)]
    return found, [str(d) for d in damage]


def test_damage_is_named_and_the_rest_is_read(tmp_path):
    path = shard_of(tmp_path, b"one", b"two", b"three")
    assert read(path) == ([b"one", b"two", b"three"], [])
    raw = bytearray(path.read_bytes())
    raw[len(tfrecord.frame_payload(b"one")) + 12] ^= 1
    path.write_bytes(raw)
    found, damage = read(path)
    assert found == [b"one", b"three"]
    assert damage == ["a.tfrecord: record 1 at byte 19: wrong checksum"]
    with path.open("rb") as file, pytest.raises(TrainError, match=r"a: record 1 .* --skip-damaged"):
        list(tfrecord.read_payloads(file, "a"))


@pytest.mark.parametrize(
    ("cut", "says"),
    [(5, "inside its length"), (14, "inside its payload"), (18, "inside its payload")],
)
def test_a_truncated_file_gives_the_records_before_the_cut(tmp_path, cut, says):
    path = shard_of(tmp_path, b"one", b"two")
    path.write_bytes(path.read_bytes()[: 19 + cut])
    found, damage = read(path)
    assert found == [b"one"]
    assert len(damage) == 1
    assert says in damage[0]


@given(st.binary(max_size=80))
def test_random_bytes_are_not_read_as_records(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("foreign") / "x.tfrecord"
    path.write_bytes(raw)
    found, damage = read(path)
    assert (
        b"".join(tfrecord.frame_payload(p) for p in found) == raw[: sum(16 + len(p) for p in found)]
    )
    assert bool(damage) == (sum(16 + len(p) for p in found) < len(raw))


def test_an_absurd_length_ends_the_file(tmp_path):
    length = struct.pack("<Q", 1 << 40)
    path = tmp_path / "a.tfrecord"
    path.write_bytes(length + struct.pack("<I", tfrecord.masked_crc(length)) + b"x" * 40)
    assert read(path)[1][0].endswith("its length is damaged")


def test_a_source_without_records_is_refused(tmp_path):
    with pytest.raises(TrainError, match="nowhere: No such file"):
        list(clips.read_clips(tmp_path / "nowhere"))
    with pytest.raises(TrainError, match=r"no \*\.tfrecord files"):
        list(clips.read_clips(tmp_path))
    (tmp_path / "x.tar").write_bytes(b"not a tar")
    with pytest.raises(TrainError, match=r"x\.tar: .*tar archive of"):
        list(clips.read_clips(tmp_path / "x.tar"))


@pytest.fixture
def folder(tmp_path):
    """Forty clips in four shards; the second has a damaged record and one that is not a clip."""
    source = tmp_path / "records"
    source.mkdir()
    for shard in range(4):
        some = [clip(f"{shard}-{i}", (i, 100 + shard), 1 + i, 10 * shard + i) for i in range(10)]
        raw = bytearray(b"".join(tfrecord.frame_payload(example_of(c)) for c in some))
        if shard == 1:
            raw[-100] ^= 1
            raw += tfrecord.frame_payload(b"")
        (source / f"{shard}.tfrecord").write_bytes(raw)
    return source


def test_a_store_has_what_the_records_had(folder, tmp_path):
    with pytest.raises(tfrecord.RecordError, match=r"1\.tfrecord: record 9"):
        convert_records(folder, tmp_path / "store")
    with pytest.raises(TrainError, match="convert"):
        ClipStore(tmp_path / "store")
    about = convert_records(folder, tmp_path / "store", skip_damaged=True)
    assert about["clips"] == 39
    assert [d.split(": ", 1)[1] for d in about["damaged"]] == [
        "record 9 at byte 7470: wrong checksum",
        f"record 10 at byte {(folder / '1.tfrecord').stat().st_size - 16}: no video_id",
    ]
    store = ClipStore(tmp_path / "store")
    assert len(store) == 39
    same(store[0], clip("0-0", (0, 100), 1, 0))
    same(store[38], clip("3-9", (9, 103), 10, 39))
    archive = tmp_path / "records.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(folder, "bal_train")
        tar.addfile(tarfile.TarInfo("bal_train/readme.txt"), io.BytesIO())
    packed = convert_records(archive, tmp_path / "packed", skip_damaged=True)
    assert packed["sha256"] == about["sha256"]


def test_batches_are_shuffled_shared_and_resumed(folder, tmp_path):
    convert_records(folder, tmp_path / "store", skip_damaged=True)
    store = ClipStore(tmp_path / "store")

    def ids(rows, first, last, **where):
        made = batches.ClipBatches(store, np.arange(3, 39), rows, 200, 5, **where)
        return [b.labels.argmax(axis=1).tolist() for b in made.iter_batches(first, last)]

    whole = ids(12, 0, 6)
    assert sorted(chain(*whole[:3])) == sorted(chain(*whole[3:]))
    assert whole[:3] != whole[3:]
    assert ids(12, 3, 6) == whole[3:]
    halves = [ids(6, 0, 6, host=h, hosts=2) for h in range(2)]
    for step, batch in enumerate(whole):
        assert batch == [n for pair in zip(*(h[step] for h in halves), strict=True) for n in pair]
    first = batches.ClipBatches(store, np.array([4, 4]), 2, 200, 5)(0)
    assert first.lengths.tolist() == [5, 5]
    assert not first.frames[:, 5:].any()
    assert first.labels.sum() == 4
    lengths = [
        len(b.lengths) for b in batches.batch_in_order((store[i] for i in range(39)), 16, 200)
    ]
    assert lengths == [16, 16, 7]


def test_classes_are_equally_likely_where_batches_are_drawn_by_class(folder, tmp_path):
    convert_records(folder, tmp_path / "store", skip_damaged=True)
    store = ClipStore(tmp_path / "store")
    some = store.group_by_class(np.arange(39))
    assert [len(n) for n in some] == [4] * 9 + [3] + [10, 9, 10, 10]
    assert all(7 in store.labels(n) for n in some[7])
    made = batches.ClipBatches(store, np.arange(39), 40, 200, 5, by_class=30)
    drawn = sum(made(step).labels.sum(axis=0) for step in range(40))
    assert drawn[:10].min() > 0.6 * drawn[:10].mean()
    np.testing.assert_array_equal(made(7).frames, made(7).frames)


def test_the_commands_name_damaged_records(folder, tmp_path):
    (tmp_path / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/a,Speech\n1,/b,"Gunshot, gunfire"\n'
    )
    (tmp_path / "ontology.json").write_text(
        json.dumps([{"id": "/b", "name": "Gunshot, gunfire", "child_ids": []}])
    )

    command = partial(train, "audioset")
    done = command("check", folder, "--classes", tmp_path)
    assert done.returncode == 1
    assert "1.tfrecord: record 9 at byte 7470" in done.stdout
    assert "39 clips" in done.stdout
    assert "4  Gunshot, gunfire" in done.stdout
    done = command("convert", folder, tmp_path / "store")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "39 clips" in command("convert", folder, tmp_path / "store", "--skip-damaged").stdout
    assert "clips a second" in command("speed", tmp_path / "store", "--batches", 2).stdout


def test_the_published_records_are_intact(tmp_path):
    """One shard of the balanced train set, as it was published."""
    real = need_shared() / "data" / "audioset"
    with tarfile.open(real / "bal_train.tar.xz") as tar:
        member = next(m for m in tar if m.name.endswith("00.tfrecord"))
        tar.extract(member, tmp_path, filter="data")
    found = list(clips.read_clips(tmp_path))
    assert found
    assert all(c.frames.shape == (10, 128) and c.labels for c in found)
    known = classes.read_class_list(real)
    assert len(known.names) == 527
    assert {known.names[i] for i in known.gunshots} == {
        "Gunshot, gunfire", "Machine gun", "Fusillade", "Artillery fire", "Cap gun",
    }  # fmt: skip


def test_gunshots_are_found_through_the_ontology(tmp_path):
    names = [("/a", "Speech"), ("/b", "Gunshot, gunfire"), ("/c", "Cap gun"), ("/d", "Volley")]
    listed = "index,mid,display_name\n"
    listed += "".join(f'{i},{mid},"{name}"\n' for i, (mid, name) in enumerate(names))
    tree = [{"id": m, "name": n, "child_ids": []} for m, n in names]
    tree[1]["child_ids"], tree[2]["child_ids"] = ["/c", "/x"], ["/d"]
    (tmp_path / "class_labels_indices.csv").write_text(listed)
    (tmp_path / "ontology.json").write_text(json.dumps(tree))
    found = classes.read_class_list(tmp_path)
    assert found.gunshots == (1, 2, 3)
    assert found.names[0] == "Speech"
    (tmp_path / "ontology.json").write_text(json.dumps(tree[:1]))
    with pytest.raises(TrainError, match="no class 'Gunshot, gunfire'"):
        classes.read_class_list(tmp_path)
    with pytest.raises(TrainError, match=r"class_labels_indices\.csv"):
        classes.read_class_list(tmp_path / "nowhere")


def test_metrics_of_a_worked_example():
    """Two clips of three classes; clip 0 is of classes 0 and 1, clip 1 of class 2."""
    scores = np.array([[0.9, 0.2, 0.5], [0.6, 0.1, 0.3]])
    truth = np.array([[True, True, False], [False, False, True]])
    assert metrics.hit_at_1(scores, truth) == 0.5
    assert metrics.perr(scores, truth) == pytest.approx((1 / 2 + 0) / 2)
    # ranked: .9 right, .6, .5, .3 right, .2 right, .1: precisions 1, 2/4, 3/5
    whole = metrics.mark_top_scores(scores)
    assert metrics.interpolated_ap(scores[whole], truth[whole], 3) == pytest.approx(
        (1 + 1 / 2 + 3 / 5) / 3
    )
    # class 0: 1; class 1: 1; class 2: .5 wrong, .3 right: 1/2
    assert metrics.mean_average_precision(scores, truth, whole) == pytest.approx(2.5 / 3)
    two = metrics.mark_top_scores(scores, 2)
    # without .2 and .1, recall is still relative to all three positives
    assert metrics.interpolated_ap(scores[two], truth[two], 3) == pytest.approx((1 + 1 / 2) / 3)
    assert metrics.mean_average_precision(scores, truth, two) == pytest.approx(1.5 / 3)
    loss = -np.log([0.9, 0.2, 0.5]).sum() - np.log([0.4, 0.9, 0.3]).sum()
    assert metrics.average_loss(scores, truth) == pytest.approx(loss / 2, abs=1e-3)


def test_scores_within_a_thousandth_are_one_threshold():
    scores, truth = np.array([0.5004, 0.5002, 0.3]), np.array([False, True, True])
    assert metrics.interpolated_ap(scores, truth, 2) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics.interpolated_ap(np.array([0.5001, 0.4999]), np.array([False, True]), 1) == 0.5
    assert metrics.interpolated_ap(np.zeros(0), np.zeros(0, bool), 3) == 0.0


@settings(deadline=None)
@given(hnp.arrays(np.float64, (30, 4), elements=st.sampled_from(np.linspace(0, 1, 12).tolist())),
       st.integers(0, 2**32 - 1))  # fmt: skip
def test_average_precision_and_auc_are_scikit_learns(scores, seed):
    truth = np.random.default_rng(seed).random(scores.shape) < 0.4
    truth[0], truth[1] = True, False
    for c in range(4):
        ours = ranking.average_precision(scores[:, c], truth[:, c])
        assert ours == pytest.approx(average_precision_score(truth[:, c], scores[:, c]))
        ours = ranking.roc_auc(scores[:, c], truth[:, c])
        assert ours == pytest.approx(roc_auc_score(truth[:, c], scores[:, c]))
    found = metrics.compute_metrics(scores, truth, (0, 2))
    assert found["macro_map"] == pytest.approx(average_precision_score(truth, scores))
    assert 0.0 <= found["ap_any_gunshot"] <= 1.0


def test_random_scores_have_a_d_prime_of_zero():
    rng = np.random.default_rng(0)
    scores, truth = rng.random((4_000, 3)), rng.random((4_000, 3)) < 0.2
    found = metrics.compute_ranking_metrics(scores, truth)
    assert found["auc"] == pytest.approx(0.5, abs=0.03)
    assert found["d_prime"] == pytest.approx(0.0, abs=0.1)
    assert metrics.compute_ranking_metrics(truth * 0.5 + scores * 0.4, truth)["auc"] == 1.0
