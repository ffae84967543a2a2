"""Several channels: mean and loudest at once, each with its own events, or one alone."""

import numpy as np
import pytest
import soundfile
from conftest import records, streamdet
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet import demo
from streamdet.audio.loudest import LoudestChannel
from streamdet.constants import RATE


@pytest.fixture(scope="module")
def surround(tmp_path_factory, scene):
    """Six channels, with the shots in the fifth only, so the mean has them 16 dB lower."""
    six = 0.002 * np.random.default_rng(1).standard_normal((len(scene), 6))
    six[:, 4] += scene
    path = tmp_path_factory.mktemp("six") / "six.wav"
    soundfile.write(path, six, RATE, subtype="FLOAT")
    return path


def events(path, *options, code=0):
    done = streamdet("file", path, "--threshold", "0.6", *options)
    assert done.returncode == code, done.stderr
    return records(done.stdout)


def test_a_shot_in_one_channel_is_detected_with_its_channel(surround):
    found = events(surround)
    assert [e["onset_s"] for e in found] == pytest.approx(demo.ONSETS_S, abs=0.03)
    assert {e["channel"] for e in found} == {"5"}


def test_a_shot_in_all_channels_has_the_channel_mix(tmp_path, scene):
    both = tmp_path / "both.wav"
    soundfile.write(both, np.stack([scene, scene], axis=1), RATE, subtype="FLOAT")
    found = events(both)
    assert [e["onset_s"] for e in found] == pytest.approx(demo.ONSETS_S, abs=0.03)
    assert {e["channel"] for e in found} == {"mix"}
    for e, mixed in zip(found, events(both, "--channels", "mix"), strict=True):
        assert e == mixed


def test_a_mono_source_has_no_channel(wav):
    assert {e["channel"] for e in events(wav)} == {None}


def test_each_channel_has_its_own_events(tmp_path, scene):
    both = tmp_path / "both.wav"
    soundfile.write(both, np.stack([scene, 0.9 * scene], axis=1), RATE, subtype="FLOAT")
    found = events(both, "--channels", "each", "--scores", str(tmp_path / "scores"))
    assert sorted(e["channel"] for e in found) == ["1"] * 3 + ["2"] * 3
    assert [e["onset_s"] for e in found] == sorted(e["onset_s"] for e in found)
    assert len({e["id"] for e in found}) == 6
    for number in "12":
        alone = events(both, "--channels", number)
        assert [e["onset_s"] for e in alone] == [
            e["onset_s"] for e in found if e["channel"] == number
        ]
        assert (tmp_path / "scores" / f"both.{number}.npz").is_file()


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ("7", b"there is no channel 7; use 1 to 6"),
        ("0", b"'0' is not auto, mix, each"),
        ("loud", b"'loud' is not auto, mix, each"),
    ],
)
def test_an_invalid_channel_is_a_one_line_error(surround, channels, message):
    done = streamdet("file", surround, "--channels", channels)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_files_of_a_batch_have_both_mixes_too(surround, wav):
    together = streamdet("file", surround, wav, surround, "--threshold", "0.6", "--platform", "cpu",
                         "--batch", "3")  # fmt: skip
    assert together.returncode == 0, together.stderr
    alone = events(surround, "--platform", "cpu")
    found = [e for e in records(together.stdout) if e["source"] == str(surround)]
    assert [(e["onset_s"], e["channel"]) for e in found[: len(alone)]] == [
        (e["onset_s"], e["channel"]) for e in alone
    ]
    done = streamdet("file", surround, wav, "--platform", "cpu", "--batch", "2",
                     "--channels", "each")  # fmt: skip
    assert done.returncode == 2
    assert b"Use --batch 1" in done.stderr


def test_the_clip_is_of_the_channel_of_the_event(surround, tmp_path):
    store, clips = tmp_path / "e.db", tmp_path / "clips"
    found = events(surround, "--store", str(store), "--clips", str(clips))
    six, _ = soundfile.read(surround, dtype="float32")
    clip, rate = soundfile.read(clips / f"{found[0]['id']}.flac", dtype="float32")
    first = round((found[0]["onset_s"] - 2.0) * rate)
    assert np.abs(clip - six[first : first + len(clip), 4]).max() < 1e-3
    listed = records(streamdet("events", "list", "--store", store, "--format", "jsonl").stdout)
    assert {e["channel"] for e in listed} == {"5"}


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**31),
    st.integers(2, 6),
    st.lists(st.integers(1, 3_000), min_size=1, max_size=8),
)
def test_the_loudest_is_the_same_for_any_chunks(seed, channels, sizes):
    random = np.random.default_rng(seed)
    gains = 10.0 ** random.uniform(-3, 0, (20, 1, channels))
    samples = (random.standard_normal((20, 700, channels)) * gains).reshape(-1, channels)
    samples = samples.astype(np.float32)
    whole = LoudestChannel(RATE, channels)
    expected = [whole.feed(samples)[1], whole.finish()[1]]
    chunked, parts, at = LoudestChannel(RATE, channels), [], 0
    while at < len(samples):
        size = sizes[len(parts) % len(sizes)]
        parts.append(chunked.feed(samples[at : at + size])[1])
        at += size
    parts.append(chunked.finish()[1])
    assert np.array_equal(np.concatenate(parts), np.concatenate(expected))
    assert len(np.concatenate(parts)) == len(samples)


def test_the_loudest_channel_ignores_low_rumble():
    time_s = np.arange(RATE) / RATE
    rumble = 0.5 * np.sin(2 * np.pi * 40 * time_s)
    voice = 0.2 * np.sin(2 * np.pi * 500 * time_s) * (time_s > 0.3)
    loudest = LoudestChannel(RATE, 3)
    loudest.feed(np.stack([0 * voice, rumble, voice], axis=1).astype(np.float32))
    assert loudest.channel_at(round(0.2 * RATE)) == 2
    assert loudest.channel_at(round(0.5 * RATE)) == 3
