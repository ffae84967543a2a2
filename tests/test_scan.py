"""`scan`: many files give one table, also after interruptions."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import records, streamdet, wait_for
from daemons import free_port
from test_faults_outputs import open_files
from test_media import film

from streamdet.constants import RATE
from streamdet.scan.manifest import Manifest, ManifestError

COUNT = 300
BASE = ("--threshold", "0.6", "--format", "jsonl")
ALONE = ("--jobs", "1", *BASE)


def fill(folder: Path, scene: np.ndarray, count: int) -> None:
    """Files of 2.5 s in three folders, every second one with a shot, all different."""
    for i in range(count):
        start = round((3.5 if i % 2 else 0.5) * RATE) + 16 * i
        path = folder / f"reel{i % 3}" / f"{i:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, scene[start : start + round(2.5 * RATE)], RATE, subtype="PCM_16")


@pytest.fixture(scope="module")
def archive(tmp_path_factory, scene) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    fill(folder, scene, COUNT)
    return folder


@pytest.fixture(scope="module")
def table(archive, tmp_path_factory) -> bytes:
    """The table of a scan without interruptions."""
    manifest = tmp_path_factory.mktemp("whole") / "scan.db"
    done = streamdet("scan", archive, "--manifest", manifest, "--jobs", "2", *BASE)
    assert done.returncode == 0, done.stderr
    assert f"{COUNT} of {COUNT} files analysed".encode() in done.stderr
    return done.stdout


def start_scan(*args, **others) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "streamdet", "scan", *map(str, args)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **others,
    )  # fmt: skip


def rows(manifest: Path) -> int:
    try:
        with sqlite3.connect(f"{manifest.as_uri()}?mode=ro", uri=True) as base:
            return base.execute("SELECT count(*) FROM files").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_the_table_has_the_events_of_file(archive, table):
    found = records(table)
    assert len({e["source"] for e in found}) == COUNT // 2
    assert [e["source"] for e in found] == sorted(e["source"] for e in found)
    some = sorted({e["source"] for e in found})[::40]
    alone = records(streamdet("file", *some, "--threshold", "0.6", "--format", "jsonl").stdout)
    of_scan = [e for e in found if e["source"] in some]
    for one, other in zip(of_scan, alone, strict=True):  # another engine: equal to 1e-3
        assert (one["id"], one["onset_s"]) == (other["id"], other["onset_s"])
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)


def test_a_scan_that_is_killed_three_times_gives_the_same_table(archive, table, tmp_path):
    manifest = tmp_path / "scan.db"
    args = (archive, "--manifest", manifest, "--jobs", 2, *BASE)
    for least in (40, 110, 200):
        process = start_scan(*args)
        wait_for(lambda least=least: rows(manifest) >= least, 60)
        assert process.poll() is None, "the scan ended before it was killed"
        workers = children(process.pid)
        process.kill()
        process.communicate()
        wait_for(lambda workers=workers: not any(Path(f"/proc/{p}").exists() for p in workers))
    done = streamdet("scan", *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout == table
    known = int(done.stderr.split(b"analysed, ")[1].split(b" of them")[0])
    assert 200 <= known < COUNT


def test_ctrl_c_writes_the_table_so_far_and_the_same_command_continues(archive, table, tmp_path):
    manifest = tmp_path / "scan.db"
    args = (archive, "--manifest", manifest, "--jobs", 2, *BASE)
    process = start_scan(*args)
    wait_for(lambda: rows(manifest) >= 30, 60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert b"interrupted: " in err
    assert err.endswith(b"Run the same command again to continue\n")
    part = set(out.splitlines())
    assert part < set(table.splitlines())
    assert streamdet("scan", *args).stdout == table


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and b"spawn_main" in (stat.parent / "cmdline").read_bytes():
            found.append(int(stat.parent.name))
    return found


def imports_jax(pid: int) -> bool:
    return "jaxlib" in Path(f"/proc/{pid}/maps").read_text()


def reads_a_file(pid: int) -> bool:
    return open_files(pid, "a.wav") + open_files(pid, "b.wav") > 0


@pytest.mark.parametrize(
    "stage", [None, imports_jax, reads_a_file], ids=["starting", "compiling", "analysing"]
)
def test_a_process_that_dies_loses_no_file(tmp_path, scene, stage):
    long = np.tile(scene, 60)
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", long, RATE, subtype="PCM_16")
    options = ("--manifest", tmp_path / "m.db", "--jobs", 2, "--platform", "cpu", *BASE)
    process = start_scan(tmp_path, *options)
    workers = wait_for(lambda: len(children(process.pid)) == 2 and children(process.pid), 30)
    if stage:
        wait_for(lambda: stage(workers[0]))
    os.kill(workers[0], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert len({e["source"] for e in records(out)}) == 2


def test_only_new_and_changed_files_are_analysed_again(tmp_path, scene):
    fill(tmp_path / "in", scene, 4)
    manifest = tmp_path / "scan.db"

    def scan(*options) -> tuple[list[dict], bytes]:
        done = streamdet("scan", tmp_path / "in", "--manifest", manifest, *ALONE, *options)
        assert done.returncode == 0, done.stderr
        return records(done.stdout), done.stderr

    first, err = scan()
    assert b"earlier" not in err
    assert scan() == (
        first, b"streamdet: 4 of 4 files analysed, 4 of them in an earlier run, 2 events\n",
    )  # fmt: skip
    one = tmp_path / "in" / "reel1" / "001.wav"
    os.utime(one, (1, 1))  # a new time, but the same content
    assert b"4 of them in an earlier run" in scan()[1]
    copy = one.with_name("copy.wav")
    copy.write_bytes(one.read_bytes())
    found, err = scan()
    assert b"5 of 5 files analysed, 5 of them in an earlier run" in err
    alone = records(streamdet("file", copy, "--threshold", "0.6", "--format", "jsonl").stdout)
    assert [e["id"] for e in found if e["source"] == str(copy)] == [e["id"] for e in alone]
    copy.write_bytes(b"junk")
    again = streamdet("scan", tmp_path / "in", "--manifest", manifest, *ALONE)
    assert again.returncode == 2
    assert b"copy.wav: not " in again.stderr
    copy.unlink()
    assert b"earlier" not in scan("--threshold", "0.7")[1]
    assert b"4 of them in an earlier run" in scan()[1]


def test_failed_files_are_retried_and_damaged_ones_reported(tmp_path, wav):
    film(tmp_path / "whole.mkv", wav, "-c:a", "flac")
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 7 // 10])
    manifest = tmp_path / "scan.db"
    args = ("scan", tmp_path, "--manifest", manifest, *ALONE)
    for summary in (
        b"2 of 2 files analysed, 1 damaged", b"analysed, 2 of them in an earlier run, 1 damaged",
    ):  # fmt: skip
        done = streamdet(*args)
        assert done.returncode == 3
        first, second = done.stderr.splitlines()
        assert b"cut.mkv: truncated: ends at" in first
        assert summary in second
        assert [e["source"] for e in records(done.stdout)].count(str(tmp_path / "cut.mkv")) == 2
    late = tmp_path / "late.wav"
    late.write_bytes(b"not yet")
    assert streamdet(*args).returncode == 2
    late.write_bytes(wav.read_bytes())
    done = streamdet(*args)
    assert done.returncode == 3
    assert {e["source"] for e in records(done.stdout)} == {
        str(tmp_path / name) for name in ("whole.mkv", "cut.mkv", "late.wav")
    }


def test_sidecars_are_beside_their_films_or_in_the_same_subfolders(tmp_path, wav):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    made = film(tmp_path / "in" / "deep" / "film.mp4", wav)
    (made.parent / "sound.wav").write_bytes(wav.read_bytes())
    args = ("scan", tmp_path / "in", "--manifest", tmp_path / "m.db", *ALONE)
    done = streamdet(*args, "--sidecar", "srt", "--sidecar", "edl")
    assert done.returncode == 2
    assert (
        b"sound.wav: edl sidecar not written: the file states no frame rate. Give --fps"
        in done.stderr
    )
    edl = (made.parent / "film.mp4.gunshots.edl").read_text()
    assert edl.count("LOC") + edl.count("|M:") >= 3
    alone = tmp_path / "alone.edl"
    streamdet("file", made, "--threshold", "0.6", "--output", alone)
    assert [x for x in edl.splitlines() if "LOC" in x] == [
        x for x in alone.read_text().splitlines() if "LOC" in x
    ]
    assert (made.parent / "sound.wav.gunshots.srt").is_file()
    done = streamdet(*args, "--sidecar", "csv", "--sidecar-dir", tmp_path / "out", "--fps", "25")
    assert done.returncode == 0
    assert b"2 of them in an earlier run" in done.stderr  # written from the manifest
    side = (tmp_path / "out" / "deep" / "film.mp4.gunshots.csv").read_text()
    assert len(side.splitlines()) == 4
    assert not list(tmp_path.rglob("*.part"))


def test_a_sidecar_is_rewritten_only_if_its_content_changes(tmp_path, wav):
    (tmp_path / "x.wav").write_bytes(wav.read_bytes())
    side = tmp_path / "x.wav.gunshots.csv"

    def rows(threshold: str) -> int:
        args = ("--sidecar", "csv", "--manifest", "m.db", "--threshold", threshold)
        streamdet("scan", "x.wav", *args, cwd=tmp_path)
        return len(side.read_text().splitlines())

    assert [rows("0.6"), rows("0.97"), rows("0.6")] == [4, 3, 4]  # the last from the manifest
    before = side.stat().st_mtime_ns
    rows("0.6")
    assert side.stat().st_mtime_ns == before


def test_two_files_never_write_the_same_sidecar(tmp_path, wav):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.wav").write_bytes(wav.read_bytes())
    to = ("--sidecar", "srt", "--sidecar-dir", "out", "--manifest", "m.db", *ALONE)
    done = streamdet("scan", "a", "b", *to, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(
        b"two files would write out/x.wav.gunshots.srt. Scan them separately\n"
    )
    assert not (tmp_path / "m.db").exists()
    assert streamdet("scan", "*/x.wav", *to, cwd=tmp_path).returncode == 0
    assert (tmp_path / "out" / "a" / "x.wav.gunshots.srt").is_file()
    assert (tmp_path / "out" / "b" / "x.wav.gunshots.srt").is_file()


def test_each_file_of_folders_lists_and_globs_is_scanned_once(tmp_path, scene):
    fill(tmp_path / "in", scene, 6)
    (tmp_path / "in" / ".hidden.wav").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    listed = tmp_path / "list.txt"
    listed.write_text(f"# two of them\n{tmp_path}/in/reel0/000.wav\n\n{tmp_path}/in/reel1\n")
    common = ("--manifest", tmp_path / "m.db", *ALONE)

    def summary(*paths) -> bytes:
        return streamdet("scan", *paths, *common).stderr.splitlines()[-1]

    assert b"6 of 6 files" in summary(tmp_path / "in", tmp_path / "in" / "reel2")
    assert b"3 of 3 files" in summary("--list", listed)
    assert b"2 of 2 files" in summary(f"{tmp_path}/in/**/00[01].wav")
    done = streamdet("scan", tmp_path / "none", *common)
    assert done.returncode == 2
    assert done.stderr.startswith(f"streamdet: {tmp_path}/none: No such file".encode())
    parts = [
        streamdet("scan", tmp_path / "in", "--shard", f"{i}/3", *common).stderr for i in range(3)
    ]
    assert all(b"2 of 2 files" in part for part in parts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], b"no input. Give files, folders, globs or URLs, or --list FILE"),
        (["x", "--shard", "3/3"], b"--shard 3/3: not a shard"),
        (["x", "--sidecar", "table"], b"--sidecar table: only for a terminal"),
        (["x", "--sidecar-dir", "y"], b"--sidecar-dir: needs --sidecar"),
        (["x", "--address", "y:1"], b"--address: needs --engine ray"),
        (["x", "--output", "/nowhere/x.csv"], b"--output /nowhere/x.csv: No such file"),
        (["x", "--output", "x.xyz"], b"--output x.xyz: unknown format. Use one of .jsonl, .csv"),
        (["x", "--list", "/nowhere"], b"--list /nowhere: No such file"),
        (["x", "--channels", "loud"], b"--channels: 'loud' is not auto"),
        (["ftp://me:secret@host/x"], b"URL with a password"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, options, message):
    done = streamdet("scan", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert b"secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_platform_is_one_line(tmp_path, wav):
    done = streamdet("scan", wav, "--manifest", tmp_path / "m.db", "--platform", "tpu")
    assert done.returncode == 2
    assert b"--platform tpu: JAX finds no tpu on this machine" in done.stderr.splitlines()[-1]
    assert b"Traceback" not in done.stderr


def test_a_file_that_is_not_a_manifest_is_not_changed(tmp_path, wav):
    note = tmp_path / "note.txt"
    note.write_text("text, and not a database\n" * 40)
    done = streamdet("scan", wav, "--manifest", note)
    assert done.returncode == 2
    assert b"cannot be used as a manifest" in done.stderr
    assert note.read_text().startswith("text, and not")
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]
    for version in (0, 1, 7):
        path = tmp_path / f"{version}.db"
        with closing(sqlite3.connect(path)) as base:
            base.execute("CREATE TABLE notes (text)")
            base.execute(f"PRAGMA user_version={version}")
        with pytest.raises(ManifestError, match="not a manifest of `streamdet scan`"):
            Manifest(path)
        with closing(sqlite3.connect(path)) as base:
            assert base.execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]


VERSION_1 = """
CREATE TABLE files (
  wishes TEXT NOT NULL,            -- how it was heard, by its hash
  name TEXT NOT NULL,
  size INTEGER NOT NULL, stamp TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  state TEXT NOT NULL,             -- heard, damaged, failed
  fault TEXT NOT NULL,
  seconds REAL NOT NULL,
  events TEXT NOT NULL,            -- JSON: the records
  PRIMARY KEY (wishes, name)
) WITHOUT ROWID;
CREATE INDEX files_by_size ON files (wishes, size);
PRAGMA user_version=1;
"""


def make_version_1(path: Path) -> None:
    """Turn a manifest into one of version 1, with the schema of that version."""
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        found = base.execute("SELECT * FROM files").fetchall()
        base.executescript("DROP TABLE files;" + VERSION_1)
        for row in found:
            state = "heard" if row[5] == "analysed" else row[5]
            values = (*row[:5], state, *row[6:])
            base.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def test_a_manifest_of_version_1_is_migrated(tmp_path, scene):
    fill(tmp_path / "in", scene, 4)
    (tmp_path / "in" / "bad.wav").write_bytes(b"text")
    args = ("scan", tmp_path / "in", "--manifest", tmp_path / "m.db", *ALONE)
    first = streamdet(*args)
    assert first.returncode == 2
    make_version_1(tmp_path / "m.db")
    again = streamdet(*args)
    assert again.stdout == first.stdout
    assert (
        b"4 of 5 files analysed, 4 of them in an earlier run, 1 could not be read" in again.stderr
    )
    with closing(sqlite3.connect(tmp_path / "m.db")) as base:
        assert base.execute("PRAGMA user_version").fetchone() == (2,)
        states = base.execute("SELECT state FROM files").fetchall()
        assert sorted(states) == [("analysed",)] * 4 + [("failed",)]
        assert base.execute("PRAGMA table_info(files)").fetchone()[1] == "settings"
        index = base.execute("PRAGMA index_info(files_by_size)").fetchall()
        assert [name for _, _, name in index] == ["settings", "size"]
        base.execute("PRAGMA user_version=3")
    later = streamdet(*args)
    assert later.returncode == 2
    assert later.stderr.endswith(b"m.db: written by a later version of streamdet\n")


def test_files_of_a_remote_file_system_are_scanned_by_url(tmp_path, scene, bundle):
    """With a real FTP server. fsspec reads other protocols in the same way."""
    fill(tmp_path / "in", scene, 4)
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "pyftpdlib", "-i", "127.0.0.1",
               "-p", str(port), "-d", str(tmp_path / "in")]  # fmt: skip
    private = subprocess.Popen(
        [*command[:-3], str(other := free_port()), *command[-2:], "-u", "me", "-P", "x"],
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: is_listening(other))
    refused = streamdet("scan", f"ftp://127.0.0.1:{other}/", "--manifest", tmp_path / "n.db")
    private.kill()
    private.wait()
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"streamdet: ftp://127.0.0.1:{other}/: 530 ".encode())
    assert len(refused.stderr.splitlines()) == 1
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"ftp://127.0.0.1:{port}/"
    try:
        wait_for(lambda: is_listening(port))
        args = ("scan", url, "--manifest", tmp_path / "m.db", *ALONE)
        done = streamdet(*args, "--sidecar", "srt", "--sidecar-dir", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert {e["source"] for e in records(done.stdout)} == {
            f"{url}reel0/003.wav", f"{url}reel1/001.wav",
        }  # fmt: skip
        assert (tmp_path / "out" / "reel1" / "001.wav.gunshots.srt").is_file()
        assert b"4 of them in an earlier run" in streamdet(*args).stderr
        from streamdet.detection.decision import DecisionConfig
        from streamdet.scan.discovery import MediaFile
        from streamdet.scan.worker import FileWorker, ScanSettings

        worker = FileWorker(bundle, ScanSettings(DecisionConfig(0.6), platform="numpy"))
        gone = worker.analyse(MediaFile(f"{url}gone.wav", "gone.wav", 1, ""))
        assert (gone.state, gone.transient) == ("failed", True)
        assert gone.fault.startswith(f"{url}gone.wav: ")
        refused = streamdet(*args, "--sidecar", "srt")
        assert refused.returncode == 2
        assert b"Give --sidecar-dir" in refused.stderr
    finally:
        server.kill()
        server.wait()
    gone = streamdet("scan", url, "--manifest", tmp_path / "m.db")
    assert gone.returncode == 2
    assert len(gone.stderr.splitlines()) == 1
    local = streamdet("scan", (tmp_path / "in").as_uri(), "--manifest", tmp_path / "m.db", *ALONE)
    assert {e["source"] for e in records(local.stdout)} == {
        str(tmp_path / "in" / "reel0" / "003.wav"), str(tmp_path / "in" / "reel1" / "001.wav"),
    }  # fmt: skip
