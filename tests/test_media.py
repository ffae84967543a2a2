"""Films and other media: every container, with the right times in each."""

import json
import logging
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT, need, records, streamdet
from media_forms import FORMS, PICTURE

from streamdet import demo
from streamdet.audio.ffmpeg import import_pyav

ONSETS = demo.ONSETS_S


def ffmpeg(*arguments) -> None:
    need("ffmpeg")
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def film(to: Path, wav: Path, *options, before: tuple = ()) -> Path:
    ffmpeg(*PICTURE, *before, "-i", wav, "-map", "0:v", "-map", "1:a", *options, to)
    return to


def detected_onsets(path: Path, *options: str, code: int = 0) -> list[float]:
    done = streamdet("file", path, "--threshold", "0.6", *options)
    assert done.returncode == code, done.stderr
    return [e["onset_s"] for e in records(done.stdout)]


@pytest.fixture(scope="module")
def onsets_in(tmp_path_factory, wav):
    """The onsets that are detected in the scene in a container."""
    folder = tmp_path_factory.mktemp("films")

    @cache
    def analyse(form: str) -> list[float]:
        return detected_onsets(film(folder / f"film.{form}", wav, *FORMS[form]))

    return analyse


@pytest.mark.parametrize(
    "form",
    ["mp4", "mkv", "mov", "webm", "mxf", "m4a", "avi", "ts", "mka", "wma", "flv", "3gp"],
)
def test_every_container_gives_the_right_onsets(onsets_in, form):
    assert onsets_in(form) == pytest.approx(ONSETS, abs=0.05)


@pytest.mark.parametrize(
    "form", ["mp4", "mov", "m4a", "3gp", "webm", "mxf", "avi", "ts", "mka", "mp3", "flac"]
)
def test_onsets_are_right_to_10_ms_where_the_file_states_the_delay_of_its_encoder(onsets_in, form):
    """The others (AAC in Matroska and Flash, WMA) start late, in every player too."""
    assert onsets_in(form) == pytest.approx(onsets_in("wav"), abs=0.0101)


def test_the_delay_of_an_audio_track_is_kept(tmp_path, wav):
    for form in ("mp4", "mkv", "mov"):
        made = film(tmp_path / f"late.{form}", wav, before=("-itsoffset", "1.5"))
        assert detected_onsets(made) == pytest.approx([o + 1.5 for o in ONSETS], abs=0.03)


def test_a_file_whose_times_start_at_one_hour_starts_at_zero(tmp_path, wav):
    made = film(tmp_path / "late.ts", wav, *FORMS["ts"], "-output_ts_offset", "3600")
    assert detected_onsets(made) == pytest.approx(ONSETS, abs=0.05)


def test_an_edit_list_is_followed(tmp_path, wav):
    whole = film(tmp_path / "whole.mp4", wav, "-g", "25")
    ffmpeg("-ss", "7.3", "-i", whole, "-c", "copy", tmp_path / "cut.mp4")
    expected = [o - 7.3 for o in ONSETS if o > 7.3]
    # copied from a key frame on: the picture before the cut is hidden by the list
    assert detected_onsets(tmp_path / "cut.mp4") == pytest.approx(expected, abs=0.05)


def test_a_variable_frame_rate_moves_nothing(tmp_path, wav):
    made = film(tmp_path / "vfr.mkv", wav, "-vf", "select='mod(n\\,7)'", "-fps_mode", "vfr")
    assert detected_onsets(made) == pytest.approx(ONSETS, abs=0.03)


def test_a_gap_in_the_audio_stays_a_gap(tmp_path, scene):
    for gap_s, name in ((0.3, "short"), (4.0, "long")):
        first, second = tmp_path / "1.wav", tmp_path / "2.wav"
        soundfile.write(first, scene[: 16_000 * 7], 16_000)
        soundfile.write(second, scene[16_000 * 7 :], 16_000)
        _joined(tmp_path / f"{name}.mkv", first, second, gap_s)
        onsets = detected_onsets(tmp_path / f"{name}.mkv")
        expected = [o if o < 7 else o + gap_s for o in ONSETS]
        assert onsets == pytest.approx(expected, abs=0.03), name


def test_a_clip_next_to_a_gap_has_the_shot_at_the_right_time(tmp_path, scene):
    from streamdet.store.reader import EventFilter, StoreReader

    first, second = tmp_path / "1.wav", tmp_path / "2.wav"
    soundfile.write(first, scene[: 16_000 * 8], 16_000)
    soundfile.write(second, scene[16_000 * 8 :], 16_000)
    _joined(tmp_path / "gap.mkv", first, second, 1.0)  # the second shot is at 10.5 s now
    store, clips = tmp_path / "e.db", tmp_path / "e-clips"
    detected_onsets(tmp_path / "gap.mkv", "--store", str(store), "--clips", str(clips))
    stored = list(StoreReader(store).events(EventFilter()))[1]
    samples, rate = soundfile.read(clips / f"{stored.event.id}.flac")
    loudest = abs(samples).argmax() / rate
    assert stored.clip_onset_s - 0.05 < loudest < stored.clip_onset_s + 1.0
    assert not samples[: round(0.4 * rate)].any()  # 8.5 to 8.9 s: nothing at all


def _joined(to: Path, first: Path, second: Path, gap_s: float) -> None:
    """Two sounds in one track, without any packets between them."""
    import av

    with av.open(str(to), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        at = 0
        for path, skip in ((first, 0), (second, round(gap_s * 16_000))):
            samples, _ = soundfile.read(path, dtype="int16")
            at += skip
            for start in range(0, len(samples), 1_600):
                part = np.ascontiguousarray(samples[None, start : start + 1_600])
                frame = av.AudioFrame.from_ndarray(part, "s16", "mono")
                frame.sample_rate, frame.pts = 16_000, at
                for packet in stream.encode(frame):
                    container.mux(packet)
                at += part.shape[1]
        container.mux(stream.encode(None))


def test_surround_audio_is_analysed_whole_or_by_channel(tmp_path, scene):
    quiet = 0.001 * np.random.default_rng(1).standard_normal((len(scene), 6))
    quiet[:, 2] += scene
    soundfile.write(tmp_path / "six.wav", quiet, 16_000)
    made = tmp_path / "six.mka"
    ffmpeg("-i", tmp_path / "six.wav", "-c:a", "flac", made)
    assert detected_onsets(made, "--channels", "3") == pytest.approx(ONSETS, abs=0.03)
    assert detected_onsets(made, "--channels", "1") == []
    done = streamdet("file", made, "--channel", "7")
    assert done.returncode == 2
    assert b"there is no channel 7" in done.stderr


def test_a_track_is_chosen_by_number_or_language(tmp_path, wav, scene):
    soundfile.write(tmp_path / "none.wav", 0.001 * scene[::-1], 16_000)
    made = tmp_path / "two.mkv"
    ffmpeg("-i", tmp_path / "none.wav", "-i", wav, "-map", "0:a", "-map", "1:a", "-c:a", "flac",
           "-metadata:s:a:0", "language=fre", "-metadata:s:a:1", "language=eng", made)  # fmt: skip
    assert detected_onsets(made, "--track", "1") == []
    for track in ("2", "eng"):
        assert detected_onsets(made, "--track", track) == pytest.approx(ONSETS, abs=0.03)
    for track in ("3", "ger", "0"):
        done = streamdet("file", made, "--track", track)
        assert done.returncode == 2
        assert b"1 (fre), 2 (eng)" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_part_of_a_film_keeps_its_time(tmp_path, wav):
    made = film(tmp_path / "film.mp4", wav)
    assert detected_onsets(made, "--start", "8", "--end", "12") == pytest.approx(
        ONSETS[1:2], abs=0.03
    )
    assert detected_onsets(made, "--start", "14.5") == pytest.approx(ONSETS[2:], abs=0.03)
    done = streamdet("file", made, "--start", "1:00:00")
    assert done.returncode == 2
    assert b"--start 3600 s is after its end at" in done.stderr


@pytest.mark.parametrize("form", ["mkv", "ts", "mp4", "avi"])
def test_a_truncated_film_gives_its_events_and_code_3(tmp_path, wav, form):
    options = [*FORMS[form], *(["-movflags", "faststart"] if form == "mp4" else [])]
    whole = film(tmp_path / f"whole.{form}", wav, *options)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{form}"
    cut.write_bytes(data[: round(len(data) * 0.7)])
    done = streamdet("file", cut, "--threshold", "0.6")
    onsets = [e["onset_s"] for e in records(done.stdout)]
    assert onsets[:2] == pytest.approx(ONSETS[:2], abs=0.05)
    if form not in ("ts", "avi"):  # these two do not state their length
        assert done.returncode == 3
    if done.returncode:
        assert len(done.stderr.splitlines()) == 1


def test_broken_packets_are_skipped_and_reported(tmp_path, wav):
    whole = film(tmp_path / "whole.mkv", wav, "-c:a", "flac")
    data = bytearray(whole.read_bytes())
    middle = len(data) * 6 // 20
    for i in range(middle, middle + 3_000):
        data[i] ^= 0x5A
    (tmp_path / "broken.mkv").write_bytes(data)
    done = streamdet("file", tmp_path / "broken.mkv", "--threshold", "0.6")
    assert done.returncode == 3
    assert b"damaged at" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    onsets = [e["onset_s"] for e in records(done.stdout)]
    assert onsets[-1] == pytest.approx(ONSETS[-1], abs=0.05)


def test_a_film_without_audio_is_one_line(tmp_path):
    ffmpeg(*PICTURE, "-t", "1", tmp_path / "mute.mp4")
    done = streamdet("file", tmp_path / "mute.mp4")
    assert done.returncode == 2
    assert done.stderr.endswith(b"mute.mp4: no audio track in it\n")


def test_a_playlist_opens_nothing_else(tmp_path, wav):
    (tmp_path / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXTINF:20,\n{wav}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {wav}\n")
    for name in ("list.m3u8", "list.ffconcat"):
        done = streamdet("file", tmp_path / name)
        assert done.returncode == 2
        assert done.stdout == b""
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("options", "code"), [([], 2), (["--track", "1"], 69)])
def test_without_pyav_the_message_names_the_file_and_the_extra_to_install(
    tmp_path, wav, options, code
):
    path = film(tmp_path / "film.mkv", wav)
    arguments = ["streamdet", "file", *options, str(path)]
    program = (
        f"import sys; sys.modules['av'] = None; sys.argv = {arguments!r}\n"
        "from streamdet.cli.main import run\nrun()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == code
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"streamdet: {path}: ")
    assert line.endswith("pip install 'streamdet[media]'")
    assert "network" not in line


def test_many_calls_add_one_logging_handler():
    for _ in range(1_000):
        import_pyav("film.mkv")
    assert len(logging.getLogger("av").handlers) == 1


def test_the_events_of_a_film_have_clips_and_pictures(tmp_path, wav):
    from streamdet.store.reader import EventFilter, StoreReader

    made = film(tmp_path / "film.mp4", wav)
    store, clips = tmp_path / "e.db", tmp_path / "e-clips"
    detected_onsets(made, "--store", str(store), "--clips", str(clips))
    reader = StoreReader(store)
    found = list(reader.events(EventFilter()))
    assert len(found) == len(ONSETS)
    for stored in found:
        assert stored.clip
        samples, rate = soundfile.read(clips / f"{stored.event.id}.flac")
        first = round((stored.clip_onset_s - 0.1) * rate)
        loud = abs(samples[first : first + rate // 2]).max()
        assert loud > 3 * abs(samples[: rate // 2]).max()


def test_mutated_films_end_in_events_or_in_one_line_each(tmp_path):
    """Headers and packets are changed, removed and repeated: no crash, hang or traceback, at most
    one message for each file, and bounded memory."""
    need("ffmpeg")
    command = [sys.executable, "-m", "benchmarks.fuzz"]
    environment = {**os.environ, "FUZZ_MINUTES": "0.1", "FUZZ_SEED": "11", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=True)
    results = json.loads(done.stdout)
    assert not results["faults"], results
    assert results["files"] >= 24
    assert results["peak_mb"] < 700


def test_an_mp3_without_a_length_is_whole(tmp_path, wav):
    made = tmp_path / "plain.mp3"
    ffmpeg("-i", wav, "-ar", "44100", "-write_xing", "0", made)
    assert detected_onsets(made) == pytest.approx(ONSETS, abs=0.05)  # and the exit code is 0


def test_a_film_of_three_hours_has_the_right_onsets_to_its_end(tmp_path, scene):
    """Six scenes over three hours: all of one container, and the last hour of another."""
    starts_s = (0.0, 1_799.3, 5_400.0, 7_777.77, 10_000.1, 10_779.9)
    sound = tmp_path / "long.flac"
    hiss = 1e-3 * np.random.default_rng(1).standard_normal(60 * 16_000).astype(np.float32)
    with soundfile.SoundFile(sound, "w", 16_000, 1, "PCM_16") as out:
        for minute in range(180):
            part = hiss.copy()
            for start in (round(s * 16_000) for s in starts_s):
                at = start - minute * len(part)
                if -len(scene) < at < len(part):
                    inside = scene[max(0, -at) : len(part) - at]
                    part[max(0, at) : max(0, at) + len(inside)] += inside
            out.write(part)
    expected = [s + o for s in starts_s for o in ONSETS if s + o < 10_800]
    picture = ("-f", "lavfi", "-i", "color=size=64x36:rate=1:duration=10800")
    for name, start_s in (("film.mkv", 0), ("film.mp4", 7_200)):
        made = tmp_path / name
        ffmpeg(*picture, "-i", sound, "-c:a", "copy", "-preset", "ultrafast", "-strict", "-2", made)
        onsets = detected_onsets(made, "--start", str(start_s))
        assert onsets == pytest.approx([o for o in expected if o >= start_s], abs=0.05), name
