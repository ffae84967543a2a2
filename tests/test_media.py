"""Films and other media: every container, and times that stay right whatever the file does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import need, records, streamdet

from benchmarks import fuzz
from streamdet import demo

ONSETS = demo.ONSETS_S


def ffmpeg(*arguments) -> None:
    need("ffmpeg")
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


FORMS = {name: fuzz.FORMS[name] for name in (
    "mp4", "mkv", "mov", "webm", "mxf", "m4a", "avi", "ts", "mka", "wma", "flv", "3gp",
)}  # fmt: skip


def film(to: Path, wav: Path, *options, before: tuple = ()) -> Path:
    ffmpeg(*fuzz.PICTURE, *before, "-i", wav, "-map", "0:v", "-map", "1:a", *options, to)
    return to


def heard(path: Path, *options: str, code: int = 0) -> list[float]:
    done = streamdet("file", path, "--threshold", "0.6", *options)
    assert done.returncode == code, done.stderr
    return [e["onset_s"] for e in records(done.stdout)]


@pytest.mark.parametrize("form", FORMS)
def test_every_container_is_heard_at_the_right_times(tmp_path, wav, form):
    made = film(tmp_path / f"film.{form}", wav, *FORMS[form])
    assert heard(made) == pytest.approx(ONSETS, abs=0.05)


@pytest.mark.parametrize(
    "form", ["mp4", "mov", "m4a", "3gp", "webm", "mxf", "avi", "ts", "mka", "mp3", "flac"]
)
def test_where_the_encoders_delay_is_told_onsets_are_those_of_the_sound_to_10_ms(
    tmp_path, wav, form
):
    """The rest (AAC in Matroska and Flash, WMA) begin as late as every player has them."""
    options = {"mp3": ["-vn"], "flac": ["-vn"]}.get(form) or FORMS[form]
    made = film(tmp_path / f"film.{form}", wav, *options)
    assert heard(made) == pytest.approx(heard(wav), abs=0.0101)


def test_a_late_sound_track_is_late(tmp_path, wav):
    for form in ("mp4", "mkv", "mov"):
        made = film(tmp_path / f"late.{form}", wav, before=("-itsoffset", "1.5"))
        assert heard(made) == pytest.approx([o + 1.5 for o in ONSETS], abs=0.03)


def test_a_file_that_begins_at_an_hour_begins_at_nought(tmp_path, wav):
    made = film(tmp_path / "late.ts", wav, *FORMS["ts"], "-output_ts_offset", "3600")
    assert heard(made) == pytest.approx(ONSETS, abs=0.05)


def test_an_edit_list_is_followed(tmp_path, wav):
    whole = film(tmp_path / "whole.mp4", wav, "-g", "25")
    ffmpeg("-ss", "7.3", "-i", whole, "-c", "copy", tmp_path / "cut.mp4")
    expected = [o - 7.3 for o in ONSETS if o > 7.3]
    # copied from a key frame on: the picture before the cut is hidden by the list
    assert heard(tmp_path / "cut.mp4") == pytest.approx(expected, abs=0.05)


def test_a_variable_frame_rate_moves_nothing(tmp_path, wav):
    made = film(tmp_path / "vfr.mkv", wav, "-vf", "select='mod(n\\,7)'", "-fps_mode", "vfr")
    assert heard(made) == pytest.approx(ONSETS, abs=0.03)


def test_a_gap_in_the_sound_stays_a_gap(tmp_path, scene):
    for gap_s, name in ((0.3, "short"), (4.0, "long")):
        first, second = tmp_path / "1.wav", tmp_path / "2.wav"
        soundfile.write(first, scene[: 16_000 * 7], 16_000)
        soundfile.write(second, scene[16_000 * 7 :], 16_000)
        _joined(tmp_path / f"{name}.mkv", first, second, gap_s)
        onsets = heard(tmp_path / f"{name}.mkv")
        expected = [o if o < 7 else o + gap_s for o in ONSETS]
        assert onsets == pytest.approx(expected, abs=0.03), name


def test_a_clip_beside_a_gap_has_the_shot_in_its_place(tmp_path, scene):
    from streamdet.store.reader import EventFilter, StoreReader

    first, second = tmp_path / "1.wav", tmp_path / "2.wav"
    soundfile.write(first, scene[: 16_000 * 8], 16_000)
    soundfile.write(second, scene[16_000 * 8 :], 16_000)
    _joined(tmp_path / "gap.mkv", first, second, 1.0)  # the second shot is at 10.5 s now
    store, clips = tmp_path / "e.db", tmp_path / "e-clips"
    heard(tmp_path / "gap.mkv", "--store", str(store), "--clips", str(clips))
    stored = list(StoreReader(store).events(EventFilter()))[1]
    samples, rate = soundfile.read(clips / f"{stored.event.id}.flac")
    loudest = abs(samples).argmax() / rate
    assert stored.clip_onset_s - 0.05 < loudest < stored.clip_onset_s + 1.0
    assert not samples[: round(0.4 * rate)].any()  # 8.5 to 8.9 s: nothing at all


def _joined(to: Path, first: Path, second: Path, gap_s: float) -> None:
    """Two sounds in one track, with nothing at all between them."""
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


def test_surround_sound_is_heard_whole_or_by_channel(tmp_path, scene):
    quiet = 0.001 * np.random.default_rng(1).standard_normal((len(scene), 6))
    quiet[:, 2] += scene
    soundfile.write(tmp_path / "six.wav", quiet, 16_000)
    made = tmp_path / "six.mka"
    ffmpeg("-i", tmp_path / "six.wav", "-c:a", "flac", made)
    assert heard(made, "--channels", "3") == pytest.approx(ONSETS, abs=0.03)
    assert heard(made, "--channels", "1") == []
    done = streamdet("file", made, "--channel", "7")
    assert done.returncode == 2
    assert b"there is no channel 7" in done.stderr


def test_a_track_is_chosen_by_number_or_language(tmp_path, wav, scene):
    soundfile.write(tmp_path / "none.wav", 0.001 * scene[::-1], 16_000)
    made = tmp_path / "two.mkv"
    ffmpeg("-i", tmp_path / "none.wav", "-i", wav, "-map", "0:a", "-map", "1:a", "-c:a", "flac",
           "-metadata:s:a:0", "language=fre", "-metadata:s:a:1", "language=eng", made)  # fmt: skip
    assert heard(made, "--track", "1") == []
    for track in ("2", "eng"):
        assert heard(made, "--track", track) == pytest.approx(ONSETS, abs=0.03)
    for track in ("3", "ger", "0"):
        done = streamdet("file", made, "--track", track)
        assert done.returncode == 2
        assert b"1 (fre), 2 (eng)" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_part_of_a_film_keeps_its_time(tmp_path, wav):
    made = film(tmp_path / "film.mp4", wav)
    assert heard(made, "--start", "8", "--end", "12") == pytest.approx(ONSETS[1:2], abs=0.03)
    assert heard(made, "--start", "14.5") == pytest.approx(ONSETS[2:], abs=0.03)
    done = streamdet("file", made, "--start", "1:00:00")
    assert done.returncode == 2
    assert b"--start lies behind its" in done.stderr


@pytest.mark.parametrize("form", ["mkv", "ts", "mp4", "avi"])
def test_a_cut_film_gives_what_there_is_and_code_3(tmp_path, wav, form):
    options = [*FORMS[form], *(["-movflags", "faststart"] if form == "mp4" else [])]
    whole = film(tmp_path / f"whole.{form}", wav, *options)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{form}"
    cut.write_bytes(data[: round(len(data) * 0.7)])
    done = streamdet("file", cut, "--threshold", "0.6")
    onsets = [e["onset_s"] for e in records(done.stdout)]
    assert onsets[:2] == pytest.approx(ONSETS[:2], abs=0.05)
    if form not in ("ts", "avi"):  # which promise no length that they could fall short of
        assert done.returncode == 3
    if done.returncode:
        assert len(done.stderr.splitlines()) == 1


def test_broken_packets_are_left_out_and_told_of(tmp_path, wav):
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


def test_a_picture_without_sound_is_one_line(tmp_path):
    ffmpeg(*fuzz.PICTURE, "-t", "1", tmp_path / "mute.mp4")
    done = streamdet("file", tmp_path / "mute.mp4")
    assert done.returncode == 2
    assert done.stderr.endswith(b"mute.mp4: no sound track in it\n")


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


def test_without_the_extra_it_says_what_to_install(tmp_path, wav):
    made = film(tmp_path / "film.mkv", wav)
    code = (
        f"import sys; sys.modules['av'] = None; sys.argv = ['streamdet', 'file', {str(made)!r}]\n"
        "from streamdet.cli.main import run\nrun()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"pip install 'streamdet[media]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_events_of_a_film_have_clips_and_pictures(tmp_path, wav):
    from streamdet.store.reader import EventFilter, StoreReader

    made = film(tmp_path / "film.mp4", wav)
    store, clips = tmp_path / "e.db", tmp_path / "e-clips"
    heard(made, "--store", str(store), "--clips", str(clips))
    reader = StoreReader(store)
    for stored in reader.events(EventFilter()):
        assert stored.clip
        samples, rate = soundfile.read(clips / f"{stored.event.id}.flac")
        first = round((stored.clip_onset_s - 0.1) * rate)
        loud = abs(samples[first : first + rate // 2]).max()
        assert loud > 3 * abs(samples[: rate // 2]).max()


def test_mutated_films_end_in_events_or_in_one_line_each(tmp_path):
    """Headers and packets are changed, cut out, doubled for half a minute: no crash, no hang, no
    traceback, no line too many, no memory without end."""
    need("ffmpeg")
    found = fuzz.run(30.0, tmp_path, seed=11)
    assert not found["wrong"], found
    assert found["files"] >= fuzz.BATCH
    assert found["peak_mb"] < 700


def test_an_mp3_without_a_length_is_whole(tmp_path, wav):
    made = tmp_path / "plain.mp3"
    ffmpeg("-i", wav, "-ar", "44100", "-write_xing", "0", made)
    assert heard(made) == pytest.approx(ONSETS, abs=0.05)  # and the exit code is 0


def test_a_film_of_three_hours_is_heard_to_its_end_in_its_own_time(tmp_path, scene):
    """Six scenes over three hours, in two containers, in no more memory than a short one takes."""
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
    for name, options in (("film.mkv", []), ("film.mp4", ["-strict", "-2"])):
        made = tmp_path / name
        ffmpeg(*picture, "-i", sound, "-c:a", "copy", "-preset", "ultrafast", *options, made)
        assert heard(made) == pytest.approx(expected, abs=0.05), name
