"""`streamdet file` as a user runs it: formats, pipes, faults and outputs."""

import contextlib
import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import soxr
from conftest import records, streamdet

from streamdet import demo

T = ("--threshold", "0.6")


def onsets(out: bytes) -> list[float]:
    return [r["onset_s"] for r in records(out)]


def check_detected(done, onsets_s=demo.ONSETS_S):
    assert done.returncode == 0, done.stderr
    assert onsets(done.stdout) == pytest.approx(list(onsets_s), abs=0.1)


def on_a_terminal(*args) -> tuple[int, bytes]:
    """The exit code, and what stdout and stderr show on a terminal."""
    shown = b""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "streamdet", *map(str, args)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=child, stderr=child, env=environment) as process:
        os.close(child)
        with contextlib.suppress(OSError):
            while got := os.read(parent, 4_096):
                shown += got
        code = process.wait(60)
    os.close(parent)
    return code, shown


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [("wav", {"subtype": "FLOAT"}), ("flac", {}), ("ogg", {}), ("mp3", {}),
     ("opus", {"format": "OGG", "subtype": "OPUS"})],
)  # fmt: skip
def test_every_audio_format_is_read(tmp_path, scene, suffix, kind):
    path = tmp_path / f"scene.{suffix}"
    rate = 48_000 if suffix == "opus" else 44_100
    mono = soxr.resample(scene, 16_000, rate)
    soundfile.write(path, np.stack([mono, mono], axis=1), rate, **kind)
    check_detected(streamdet("file", path, *T))


def test_events_are_the_same_on_every_run_to_the_byte(wav):
    one, two = streamdet("file", wav, *T), streamdet("file", wav, *T)
    assert one.stdout == two.stdout
    assert len({r["id"] for r in records(one.stdout)}) == 3


def test_wav_and_raw_pcm_are_read_from_stdin(wav, scene):
    check_detected(streamdet("file", "-", *T, stdin=wav.read_bytes()))
    header = bytearray(wav.read_bytes())
    header[40:44] = b"\xff\xff\xff\xff"
    check_detected(streamdet("file", "-", *T, stdin=bytes(header)))
    loud = np.stack([scene, scene], axis=1)
    raw = (np.clip(loud, -1, 1) * 32767).astype("<i2").tobytes()
    check_detected(streamdet("file", "-", "--raw-channels", "2", *T, stdin=raw))
    floats = soxr.resample(scene, 16_000, 48_000).astype("<f4").tobytes()
    check_detected(
        streamdet("file", "-", "--raw-rate", "48000", "--raw-encoding", "f32", *T, stdin=floats)
    )


def test_a_part_of_a_file_keeps_the_files_own_time(wav):
    done = streamdet("file", wav, "--start", "0:08", "--end", "12.5", *T)
    check_detected(done, [9.5])


def test_a_start_time_dates_the_events(wav):
    done = streamdet("file", wav, "--start-time", "2026-11-22T19:54:00Z", *T)
    assert records(done.stdout)[0]["time"].startswith("2026-11-22T19:54:04.2")
    assert records(streamdet("file", wav, *T).stdout)[0]["time"] is None


def test_csv_table_and_an_output_file(wav, tmp_path):
    done = streamdet("file", wav, "--format", "csv", *T)
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert [float(r["onset_s"]) for r in rows] == pytest.approx(list(demo.ONSETS_S), abs=0.1)
    table = streamdet("file", wav, "--format", "table", "--explain", *T).stdout.decode()
    assert "00:04.2" in table
    assert "ambience" in table
    path = tmp_path / "out.jsonl"
    done = streamdet("file", wav, "--output", path, *T)
    assert done.stdout == b""
    assert len(records(path.read_bytes())) == 3


QUIET = ("--start", "0", "--end", "2", *T)


def test_a_table_without_events_is_empty_and_stderr_says_so(wav, tmp_path):
    done = streamdet("file", wav, "--format", "table", *QUIET)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"streamdet: no gunshots found\n"
    done = streamdet("file", wav, *QUIET)  # JSON lines, for a program
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = streamdet("file", wav, tmp_path / "none.wav", "--format", "table", *QUIET)
    assert done.returncode == 2
    assert b"no gunshots found" not in done.stderr


def test_on_a_terminal_stderr_says_that_nothing_was_found(wav, tmp_path):
    code, shown = on_a_terminal("file", wav, "--output", tmp_path / "events.csv", *QUIET)
    assert code == 0
    assert b"streamdet: no gunshots found" in shown
    assert len((tmp_path / "events.csv").read_text().splitlines()) == 1
    code, shown = on_a_terminal("file", wav, *T)
    assert b"no gunshots found" not in shown


def test_an_output_of_an_unknown_format_is_refused(wav, tmp_path):
    path = tmp_path / "events.xyz"
    done = streamdet("file", wav, "--output", path, *T)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"streamdet: --output {path}: unknown format. Use one of .jsonl, .csv, .selections.txt, "
        ".txt, .srt, .vtt, .edl, .fcpxml, .otio, .textgrid, .html\n"
    )
    assert not path.exists()
    done = streamdet("file", wav, "--output", path, "--output", tmp_path / "x.csv", *T)
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())
    done = streamdet("file", wav, "--output", path, "--format", "csv", *T)
    assert done.returncode == 0, done.stderr
    assert len(path.read_text().splitlines()) == 4


def test_explain_adds_the_scores_and_the_other_labels(wav):
    (first, *_) = records(streamdet("file", wav, "--explain", *T).stdout)
    assert len(first["explain"]["top"]) == 3
    times, scores = zip(*first["explain"]["scores"], strict=True)
    assert times[0] < first["onset_s"] < times[-1]
    assert max(scores) == pytest.approx(first["score"], abs=1e-3)


def test_scores_are_written_frame_by_frame(wav, tmp_path):
    assert streamdet("file", wav, "--scores", tmp_path / "s", *T).returncode == 0
    with np.load(tmp_path / "s" / "scene.npz") as arrays:
        times, scores, labels = arrays["times_s"], arrays["scores"], arrays["labels"]
    assert scores.shape == (len(times), len(labels)) == (500, 10)
    assert labels[0] == "gunshot"
    assert np.diff(times) == pytest.approx(0.04)
    assert scores[round(4.36 / 0.04), 0] > 0.5
    clash = streamdet("file", wav, wav, "--scores", tmp_path)
    assert clash.returncode == 2
    assert b"scene.npz" in clash.stderr


@pytest.fixture
def bad(tmp_path, wav, scene):
    """A folder with a file for each kind of damage."""
    whole = wav.read_bytes()
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_bytes(b"this is text and not audio at all" * 9)
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "header.wav").write_bytes(whole[:44])
    (tmp_path / "folder.wav").mkdir()
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0, np.float32), 16_000)
    for suffix in ("flac", "ogg"):
        path = tmp_path / f"cut.{suffix}"
        soundfile.write(path, scene, 16_000)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return tmp_path


FAULTS = ["missing.wav", "empty.wav", "text.wav", "cut.wav", "header.wav", "folder.wav",
          "nothing.wav", "cut.flac", "cut.ogg"]  # fmt: skip


def test_each_fault_is_one_line_and_the_other_files_are_still_analysed(bad, wav):
    paths = [bad / name for name in FAULTS]
    done = streamdet("file", *paths, wav, *T)
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(FAULTS)
    for name, line in zip(FAULTS, lines, strict=True):
        assert line.startswith("streamdet: ")
        assert name in line
    found = [r["onset_s"] for r in records(done.stdout) if r["source"] == str(wav)]
    assert found == pytest.approx(list(demo.ONSETS_S), abs=0.1)


@pytest.mark.parametrize("name", ["cut.wav", "cut.flac", "cut.ogg"])
def test_the_readable_part_of_a_truncated_file_is_analysed(bad, name):
    done = streamdet("file", bad / name, *T)
    assert done.returncode == 3
    assert b"truncated" in done.stderr or b"damaged" in done.stderr
    assert onsets(done.stdout)[:1] == pytest.approx([4.2], abs=0.1)
    grid = streamdet("file", bad / name, "--format", "textgrid", *T)  # written at its end
    assert grid.returncode == 3
    assert b"4.2" in grid.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--threshold", "1.5"], "--threshold: 1.5"),
        (["--operating-point", "wild"], "sensitive"),
        (["--threshold", "0.5", "--operating-point", "strict"], "one of them"),
        (["--model", "/nowhere"], "/nowhere"),
        (["--start", "soon"], "--start soon"),
        (["--start", "30"], "--start 30 s is after its end at 20.000 s"),
        (["--start", "5", "--end", "5"], "--start 5 s is not before --end"),
        (["--start-time", "noon"], "--start-time noon"),
        (["--channel", "2"], "no channel 2"),
        (["--output", "/nowhere/x.csv"], "/nowhere/x.csv: No such file"),
        (["--format", "xml"], "xml"),
    ],
)
def test_a_bad_option_is_one_clear_line_and_code_2(wav, options, says):
    done = streamdet("file", wav, *options)
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == b""


def test_an_input_that_does_not_exist_leaves_outputs_as_they_are(tmp_path):
    output = tmp_path / "events.jsonl"
    output.write_text("{}\n")
    done = streamdet("file", tmp_path / "missing.wav", "--output", output)
    assert done.returncode == 2
    assert done.stderr.endswith(b"missing.wav: No such file or directory\n")
    assert output.read_text() == "{}\n"


def test_an_input_file_is_never_overwritten(wav):
    before = wav.read_bytes()
    done = streamdet("file", wav, "--output", wav)
    assert done.returncode == 2
    assert b"is an input file" in done.stderr
    assert wav.read_bytes() == before


@pytest.mark.parametrize("kind", ["jsonl", "csv", "table"])
def test_a_file_with_an_undecodable_name_is_analysed(tmp_path, wav, kind):
    odd = os.fsencode(tmp_path) + b"/\xff\x1b[2Jodd.wav"
    os.link(wav, odd)
    done = streamdet("file", os.fsdecode(odd), "--format", kind, *T)
    assert done.returncode == 0, done.stderr
    assert b"odd.wav" in done.stdout
    assert kind == "csv" or b"\x1b" not in done.stdout


def test_empty_stdin_or_a_truncated_header_is_refused():
    for stdin in (b"", b"RIFF\x00", b"RIFF0000WAVEfmt "):
        done = streamdet("file", "-", stdin=stdin)
        assert done.returncode == 2
        assert done.stderr.startswith(b"streamdet: stdin: ")


def test_a_broken_pipe_ends_quietly(wav):
    command = [sys.executable, "-m", "streamdet", "file", *[str(wav)] * 4, *T]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_ctrl_c_writes_the_events_found_so_far(scene):
    command = [sys.executable, "-m", "streamdet", "file", "-", *T]
    raw = (np.clip(scene, -1, 1) * 32767).astype("<i2").tobytes()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(raw[: 2 * 16_000 * 11])
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(raw[: 2 * 16_000])
            process.stdin.close()
        rest = process.stdout.read()
        assert process.wait(60) == 130
        assert b"Traceback" not in process.stderr.read()
    assert [r["onset_s"] for r in records(first + rest)][:1] == pytest.approx([4.2], abs=0.1)


def test_on_a_terminal_stdout_is_a_table_and_stderr_shows_progress(wav):
    code, shown = on_a_terminal("file", wav, *T)
    assert code == 0
    assert b"onset" in shown
    assert b"00:04.2" in shown
    assert b"scene.wav" in shown


def test_an_events_line_fits_the_schema(wav):
    import jsonschema
    from conftest import ROOT

    schema = json.loads((ROOT / "docs" / "event.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    lines = records(streamdet("file", wav, "--explain", *T).stdout)
    lines += records(streamdet("file", wav, "--start-time", "2026-01-01T00:00:00", *T).stdout)
    for line in lines:
        jsonschema.validate(
            line, schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        )
