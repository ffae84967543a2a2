"""Markers, labels and subtitles: on the right frame, and readable by other programs."""

import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import opentimelineio
import pytest
import srt
import webvtt
from conftest import records, streamdet
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid
from test_media import film

from streamdet import demo
from streamdet.detection.event import Detection, Event, ModelId
from streamdet.formats import FORMATS, SUFFIX_OF, format_for, timecode

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("scene.edl", "scene.fcpxml", "scene.srt", "scene.vtt", "scene.txt", "scene.selections.txt",
         "scene.TextGrid", "scene.otio", "scene.csv", "scene.jsonl")  # fmt: skip
RATES = ("24", "25", "29.97df", "30000/1001", "23.976", "50", "59.94df", "60")


@pytest.fixture(scope="module")
def written(tmp_path_factory, wav) -> Path:
    """The demo scene in every format, at 25 frames per second, from timecode 10:00:00:00."""
    folder = tmp_path_factory.mktemp("written")
    outputs = [option for name in NAMES for option in ("--output", folder / name)]
    done = streamdet("file", wav.name, "--threshold", "0.6", "--fps", "25", "--start-timecode",
                     "10:00:00:00", *outputs, cwd=wav.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    return folder


def events(folder: Path) -> list[dict]:
    return records((folder / "scene.jsonl").read_bytes())


@pytest.mark.parametrize("name", [n for n in NAMES if not n.endswith((".otio", ".jsonl"))])
def test_every_format_is_as_in_the_golden_file(written, name):
    if os.environ.get("GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / name).write_bytes((written / name).read_bytes())
    assert (written / name).read_text() == (GOLDEN / name).read_text()


def test_other_programs_read_the_subtitles(written):
    onsets = [e["onset_s"] for e in events(written)]
    cues = list(srt.parse((written / "scene.srt").read_text()))
    assert [c.start.total_seconds() for c in cues] == pytest.approx(onsets, abs=1e-3)
    captions = webvtt.read(written / "scene.vtt")
    assert [c.start_in_seconds for c in captions] == [int(o) for o in onsets]
    assert captions[1].text == cues[1].content
    assert all(c.end - c.start >= (cues[0].end - cues[0].start) * 0.9 for c in cues)


def test_other_programs_read_textgrids_and_label_tracks(written):
    grid = textgrid.openTextgrid(str(written / "scene.TextGrid"), includeEmptyIntervals=False)
    spans = grid.getTier("gunshots").entries
    assert [s.start for s in spans] == pytest.approx([e["onset_s"] for e in events(written)])
    assert [s.end for s in spans] == pytest.approx([e["offset_s"] for e in events(written)])
    from streamdet.scoring import labels

    read = labels.read_labels(written / "scene.txt")
    assert [label.onset_s for label in read] == pytest.approx([s.start for s in spans])


def test_other_programs_read_the_edit_decision_list(written):
    timeline = opentimelineio.adapters.read_from_file(
        str(written / "scene.edl"), "cmx_3600", rate=25
    )
    clips = list(timeline.find_clips())
    base = timecode.parse_frame_rate("25").with_start("10:00:00:00")
    frames = [base.start + base.frame(e["onset_s"]) for e in events(written)]
    assert [c.source_range.start_time.to_frames() for c in clips] == frames
    assert clips[0].markers[0].name.startswith("gunshot, 1 round")


def test_opentimelineio_reads_the_timeline(written):
    timeline = opentimelineio.adapters.read_from_file(str(written / "scene.otio"))
    assert timeline.global_start_time.to_timecode() == "10:00:00:00"
    (gap,) = timeline.tracks[0]
    marked = [m.marked_range.start_time.to_seconds() for m in gap.markers]
    assert marked == pytest.approx([e["onset_s"] for e in events(written)], abs=0.04)
    assert gap.markers[1].metadata["streamdet"]["rounds"] == 3


def marks(folder: Path, rate: str) -> list[str]:
    """The timecodes of an EDL, which must be the same frames as in FCPXML."""
    text = (folder / "x.edl").read_text()
    codes = re.findall(r"^\* LOC: (\S+)", text, re.MULTILINE)
    root = ElementTree.fromstring((folder / "x.fcpxml").read_bytes())
    base = timecode.parse_frame_rate(rate).with_start("01:00:00:00")
    found = []
    for marker in root.iter("marker"):
        seconds = Fraction(marker.attrib["start"].removesuffix("s"))
        frame = seconds * base.fps - base.start
        assert frame.denominator == 1
        found.append(base.timecode(int(frame)))
    assert found == codes
    return codes


@pytest.mark.parametrize("rate", RATES)
def test_markers_land_on_the_frame_that_is_shown(tmp_path, wav, rate):
    done = streamdet("file", wav, "--threshold", "0.6", "--fps", rate, "--start-timecode",
                     "01:00:00:00", "--output", tmp_path / "x.edl", "--output",
                     tmp_path / "x.fcpxml")  # fmt: skip
    assert done.returncode == 0, done.stderr
    base = timecode.parse_frame_rate(rate)
    for code, onset in zip(marks(tmp_path, rate), demo.ONSETS_S, strict=True):
        clock = opentimelineio.opentime.from_timecode(code, float(base.fps))
        hour = opentimelineio.opentime.from_timecode(
            "01:00:00;00" if base.drop else "01:00:00:00", float(base.fps)
        )
        assert (clock - hour).to_seconds() == pytest.approx(onset, abs=0.03 + 1 / float(base.fps))


def test_the_frame_rate_and_timecode_of_the_film_are_the_default(tmp_path, wav):
    made = film(tmp_path / "film.mov", wav, "-r", "30000/1001", "-timecode", "02:00:00;00")
    done = streamdet("file", made, "--threshold", "0.6", "--output", tmp_path / "x.edl")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "x.edl").read_text()
    assert "FCM: DROP FRAME" in text
    assert "* LOC: 02:00:04;0" in text


rates = st.sampled_from(RATES)


@settings(max_examples=300, deadline=None)
@given(rates, st.integers(0, 2_500_000))
def test_a_timecode_and_a_frame_convert_to_each_other(rate, frame):
    base = timecode.parse_frame_rate(rate)
    frame %= int(86_400 * base.fps)
    assert base.with_start(base.timecode(frame)).start == frame
    time = opentimelineio.opentime.RationalTime(frame, float(base.fps))
    expected = opentimelineio.opentime.to_timecode(time, float(base.fps), base.drop)
    assert base.timecode(frame) == expected


@settings(max_examples=200, deadline=None)
@given(rates, st.floats(0, 80_000))
def test_a_frame_is_the_one_shown_at_its_time(rate, seconds):
    base = timecode.parse_frame_rate(rate)
    frame = base.frame(seconds)
    assert float(base.seconds(frame)) <= seconds + 0.0011
    assert seconds < float(base.seconds(frame + 1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--output", "x.edl"], "scene.wav: states no frame rate. Give --fps"),
        (["--output", "x.edl", "--fps", "fast"], "--fps fast: not a frame rate"),
        (["--output", "x.edl", "--fps", "25df"], "drop-frame exists only for 29.97 and 59.94"),
        (["--output", "x.edl", "--fps", "1/0"], "not a frame rate"),
        (["--output", "x.edl", "--fps", "25", "--start-timecode", "1:2"], "not a timecode"),
        (["--output", "x.edl", "--fps", "29.97df", "--start-timecode", "00:01:00:00"], "skipped"),
        (["--output", "x.srt", "--output", "x.srt"], "given twice"),
        (
            ["--output", "x.srt", "--output", "y.csv", "--format", "csv"],
            "--format: not allowed with several --output",
        ),
        (["--output", "nowhere/x.srt"], "nowhere/x.srt"),
    ],
)
def test_output_that_cannot_be_written_is_one_line(tmp_path, wav, options, words):
    done = streamdet("file", wav, *options, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_command_offers_every_format():
    from streamdet.cli.event_outputs import OutputFormat

    assert tuple(OutputFormat) == tuple(FORMATS)


@pytest.mark.parametrize("kind", SUFFIX_OF)
def test_a_suffix_selects_its_format_in_any_letter_case(kind):
    assert format_for(f"film{SUFFIX_OF[kind]}") == kind
    assert format_for(f"FILM{SUFFIX_OF[kind]}".upper()) == kind


@pytest.mark.parametrize("name", ["", "film", "film.xml", "film.jsonl.gz", "csv", "film.html"])
def test_a_name_with_an_unknown_suffix_has_no_format(name):
    assert format_for(name) is None


def test_the_span_of_an_open_event_ends_at_its_onset():
    open_detection = Detection("onset", 16_000, None, 17_000, 1, 0.9, 0.5, -20.0, {})
    closed = Detection("final", 16_000, 24_000, 25_000, 1, 0.9, 0.5, -20.0, {})
    model = ModelId("m", "1", "0")
    assert Event(open_detection, "id", "a.wav", 16_000, None, model).span_s == (1.0, 1.0)
    assert Event(closed, "id", "a.wav", 16_000, None, model).span_s == (1.0, 1.5)


def test_a_format_with_one_timeline_takes_one_file(tmp_path, wav):
    done = streamdet("file", wav, wav, "--output", tmp_path / "x.srt")
    assert done.returncode == 2
    assert b"srt: holds the events of one file. Give a single PATH" in done.stderr


def test_a_file_without_events_is_valid_in_every_format(tmp_path, scene):
    import soundfile

    soundfile.write(tmp_path / "quiet.wav", scene[: 16_000 * 3] * 0.0 + 1e-4, 16_000)
    outputs = [o for n in NAMES for o in ("--output", tmp_path / n.replace("scene", "none"))]
    done = streamdet("file", tmp_path / "quiet.wav", "--fps", "24", *outputs)
    assert done.returncode == 0, done.stderr
    assert list(srt.parse((tmp_path / "none.srt").read_text())) == []
    assert webvtt.read(tmp_path / "none.vtt").captions == []
    textgrid.openTextgrid(str(tmp_path / "none.TextGrid"), includeEmptyIntervals=True)
    opentimelineio.adapters.read_from_file(str(tmp_path / "none.otio"))
    ElementTree.fromstring((tmp_path / "none.fcpxml").read_bytes())


def test_without_opentimelineio_the_message_says_what_to_install(tmp_path, wav):
    arguments = ["file", str(wav), "--fps", "25", "--output", str(tmp_path / "x.otio")]
    code = (
        "import sys; sys.modules['opentimelineio'] = None; "
        f"sys.argv = ['streamdet', *{arguments!r}]\nfrom streamdet.cli.main import run\nrun()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"pip install 'streamdet[edit]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
