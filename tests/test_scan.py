"""`scan`: an archive goes to one table, whatever interrupts it."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import records, streamdet, wait_for
from daemons import free_port
from test_media import film

from streamdet.constants import RATE

COUNT = 300
BASE = ("--threshold", "0.6", "--format", "jsonl")


def fill(folder: Path, scene: np.ndarray, count: int) -> None:
    """Files of 2.5 s in three folders, every second one with a shot, no two alike."""
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
    """What an uninterrupted scan of it gives."""
    manifest = tmp_path_factory.mktemp("whole") / "scan.db"
    done = streamdet("scan", archive, "--manifest", manifest, "--jobs", "2", *BASE)
    assert done.returncode == 0, done.stderr
    assert f"{COUNT} of {COUNT} files heard".encode() in done.stderr
    return done.stdout


def begun(*args, **others) -> subprocess.Popen:
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


def test_the_table_is_that_of_each_file_alone(archive, table):
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
        process = begun(*args)
        wait_for(lambda least=least: rows(manifest) >= least, 60)
        assert process.poll() is None, "it was over before it was killed"
        working = children(process.pid)
        process.kill()
        process.communicate()
        wait_for(lambda working=working: not any(Path(f"/proc/{p}").exists() for p in working))
    done = streamdet("scan", *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout == table
    heard_before = int(done.stderr.split(b"heard, ")[1].split(b" of them")[0])
    assert 200 <= heard_before < COUNT


def test_ctrl_c_writes_what_there_is_and_the_same_command_goes_on(archive, table, tmp_path):
    manifest = tmp_path / "scan.db"
    args = (archive, "--manifest", manifest, "--jobs", 2, *BASE)
    process = begun(*args)
    wait_for(lambda: rows(manifest) >= 30, 60)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"Traceback" not in said
    assert b"interrupted: " in said
    part = set(out.splitlines())
    assert part < set(table.splitlines())
    assert streamdet("scan", *args).stdout == table


def listens(port: int) -> bool:
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


@pytest.mark.parametrize("wait_s", [0.0, 0.7, 3.0], ids=["beginning", "compiling", "at work"])
def test_a_process_that_dies_loses_no_file(tmp_path, scene, wait_s):
    long = np.tile(scene, 200)
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", long, RATE, subtype="PCM_16")
    process = begun(tmp_path, "--manifest", tmp_path / "m.db", "--jobs", 2, *BASE)
    heard = wait_for(lambda: len(children(process.pid)) == 2 and children(process.pid), 30)
    time.sleep(wait_s)
    os.kill(heard[0], signal.SIGKILL)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert len({e["source"] for e in records(out)}) == 2


def test_what_is_done_is_not_done_again_unless_it_has_changed(tmp_path, scene):
    fill(tmp_path / "in", scene, 4)
    manifest = tmp_path / "scan.db"

    def scan(*options) -> tuple[list[dict], bytes]:
        done = streamdet("scan", tmp_path / "in", "--manifest", manifest, *BASE, *options)
        assert done.returncode == 0, done.stderr
        return records(done.stdout), done.stderr

    first, said = scan()
    assert b"before" not in said
    assert scan() == (first, b"streamdet: 4 of 4 files heard, 4 of them before, 2 events\n")
    one = tmp_path / "in" / "reel1" / "001.wav"
    os.utime(one, (1, 1))  # touched, but the same content
    assert b"4 of them before" in scan()[1]
    copy = one.with_name("copy.wav")
    copy.write_bytes(one.read_bytes())
    found, said = scan()
    assert b"5 of 5 files heard, 5 of them before" in said
    alone = records(streamdet("file", copy, "--threshold", "0.6", "--format", "jsonl").stdout)
    assert [e["id"] for e in found if e["source"] == str(copy)] == [e["id"] for e in alone]
    copy.write_bytes(b"junk")
    again = streamdet("scan", tmp_path / "in", "--manifest", manifest, *BASE)
    assert again.returncode == 2
    assert b"copy.wav: not " in again.stderr
    copy.unlink()
    assert b"before" not in scan("--threshold", "0.7")[1]  # other wishes
    assert b"4 of them before" in scan()[1]


def test_what_failed_is_tried_again_and_what_is_damaged_is_told_of(tmp_path, wav):
    film(tmp_path / "whole.mkv", wav, "-c:a", "flac")
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 7 // 10])
    manifest = tmp_path / "scan.db"
    args = ("scan", tmp_path, "--manifest", manifest, *BASE)
    for before in (b"2 of 2 files heard, 1 damaged", b"heard, 2 of them before, 1 damaged"):
        done = streamdet(*args)
        assert done.returncode == 3
        first, second = done.stderr.splitlines()
        assert b"cut.mkv: truncated: ends at" in first
        assert before in second
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


def test_sidecars_lie_beside_their_films_or_in_folders_like_theirs(tmp_path, wav):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    made = film(tmp_path / "in" / "deep" / "film.mp4", wav)
    (made.parent / "sound.wav").write_bytes(wav.read_bytes())
    args = ("scan", tmp_path / "in", "--manifest", tmp_path / "m.db", *BASE)
    done = streamdet(*args, "--sidecar", "srt", "--sidecar", "edl")
    assert done.returncode == 2
    assert b"sound.wav: no edl sidecar: how many frames a second?" in done.stderr
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
    assert b"2 of them before" in done.stderr  # written from the manifest
    side = (tmp_path / "out" / "deep" / "film.mp4.gunshots.csv").read_text()
    assert len(side.splitlines()) == 4
    assert not list(tmp_path.rglob("*.part"))


def test_a_sidecar_is_of_the_scan_that_wrote_it_last(tmp_path, wav):
    (tmp_path / "x.wav").write_bytes(wav.read_bytes())
    side = tmp_path / "x.wav.gunshots.csv"

    def rows(threshold: str) -> int:
        args = ("--sidecar", "csv", "--manifest", "m.db", "--threshold", threshold)
        streamdet("scan", "x.wav", *args, cwd=tmp_path)
        return len(side.read_text().splitlines())

    assert [rows("0.6"), rows("0.97"), rows("0.6")] == [4, 3, 4]  # the last was known before
    before = side.stat().st_mtime_ns
    rows("0.6")
    assert side.stat().st_mtime_ns == before


def test_two_files_never_write_one_sidecar(tmp_path, wav):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.wav").write_bytes(wav.read_bytes())
    to = ("--sidecar", "srt", "--sidecar-dir", "out", "--manifest", "m.db", *BASE)
    done = streamdet("scan", "a", "b", *to, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(
        b"two files would both write out/x.wav.gunshots.srt; scan them apart\n"
    )
    assert not (tmp_path / "m.db").exists()
    assert streamdet("scan", "*/x.wav", *to, cwd=tmp_path).returncode == 0
    assert (tmp_path / "out" / "a" / "x.wav.gunshots.srt").is_file()
    assert (tmp_path / "out" / "b" / "x.wav.gunshots.srt").is_file()


def test_folders_lists_and_globs_name_each_file_once(tmp_path, scene):
    fill(tmp_path / "in", scene, 6)
    (tmp_path / "in" / ".hidden.wav").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    listed = tmp_path / "list.txt"
    listed.write_text(f"# two of them\n{tmp_path}/in/reel0/000.wav\n\n{tmp_path}/in/reel1\n")
    common = ("--manifest", tmp_path / "m.db", "--jobs", "2", *BASE)

    def heard(*paths) -> bytes:
        return streamdet("scan", *paths, *common).stderr.splitlines()[-1]

    assert b"6 of 6 files" in heard(tmp_path / "in", tmp_path / "in" / "reel2")
    assert b"3 of 3 files" in heard("--list", listed)
    assert b"2 of 2 files" in heard(f"{tmp_path}/in/**/00[01].wav")
    done = streamdet("scan", tmp_path / "none", *common)
    assert done.returncode == 2
    assert done.stderr.startswith(f"streamdet: {tmp_path}/none: No such file".encode())
    parts = [
        streamdet("scan", tmp_path / "in", "--shard", f"{i}/3", *common).stderr for i in range(3)
    ]
    assert all(b"2 of 2 files" in part for part in parts)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], b"scan: what? give files"),
        (["x", "--shard", "3/3"], b"--shard 3/3: no part; write 0/4"),
        (["x", "--sidecar", "table"], b"--sidecar table: is for a terminal"),
        (["x", "--sidecar-dir", "y"], b"--sidecar-dir: wants --sidecar"),
        (["x", "--address", "y:1"], b"--address: is of a cluster"),
        (["x", "--output", "/nowhere/x.csv"], b"--output /nowhere/x.csv: No such file"),
        (["x", "--list", "/nowhere"], b"--list /nowhere: No such file"),
        (["x", "--channels", "loud"], b"--channels: 'loud' is not auto"),
        (["ftp://me:secret@host/x"], b"a URL with a password would be written into events"),
    ],
)
def test_what_it_can_not_do_is_one_line(tmp_path, options, said):
    done = streamdet("scan", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert b"secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_platform_that_is_not_here_is_one_line(tmp_path, wav):
    done = streamdet("scan", wav, "--manifest", tmp_path / "m.db", "--platform", "tpu")
    assert done.returncode == 2
    assert b"--platform tpu: JAX finds no tpu on this machine" in done.stderr.splitlines()[-1]
    assert b"Traceback" not in done.stderr


def test_a_file_that_is_no_manifest_is_left_alone(tmp_path, wav):
    note = tmp_path / "note.txt"
    note.write_text("not a database, but somebody's\n" * 40)
    done = streamdet("scan", wav, "--manifest", note)
    assert done.returncode == 2
    assert b"no manifest can be kept there" in done.stderr
    assert note.read_text().startswith("not a database")
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def test_files_of_a_remote_file_system_are_heard_by_their_urls(tmp_path, scene, bundle):
    """A real FTP server; what the library reads from others it reads in the same way."""
    fill(tmp_path / "in", scene, 4)
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "pyftpdlib", "-i", "127.0.0.1",
               "-p", str(port), "-d", str(tmp_path / "in")]  # fmt: skip
    private = subprocess.Popen(
        [*command[:-3], str(other := free_port()), *command[-2:], "-u", "me", "-P", "x"],
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: listens(other))
    refused = streamdet("scan", f"ftp://127.0.0.1:{other}/", "--manifest", tmp_path / "n.db")
    private.kill()
    private.wait()
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"streamdet: ftp://127.0.0.1:{other}/: 530 ".encode())
    assert len(refused.stderr.splitlines()) == 1
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"ftp://127.0.0.1:{port}/"
    try:
        wait_for(lambda: listens(port))
        args = ("scan", url, "--manifest", tmp_path / "m.db", *BASE)
        done = streamdet(*args, "--sidecar", "srt", "--sidecar-dir", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert {e["source"] for e in records(done.stdout)} == {
            f"{url}reel0/003.wav", f"{url}reel1/001.wav",
        }  # fmt: skip
        assert (tmp_path / "out" / "reel1" / "001.wav.gunshots.srt").is_file()
        assert b"4 of them before" in streamdet(*args).stderr
        from streamdet.detection.decision import DecisionConfig
        from streamdet.scan.discovery import MediaFile
        from streamdet.scan.worker import FileWorker, ScanSettings

        hearer = FileWorker(bundle, ScanSettings(DecisionConfig(0.6), platform="numpy"))
        gone = hearer.analyse(MediaFile(f"{url}gone.wav", "gone.wav", 1, ""))
        assert (gone.state, gone.transient) == ("failed", True)
        assert gone.fault.startswith(f"{url}gone.wav: ")
        nowhere = streamdet(*args, "--sidecar", "srt")
        assert nowhere.returncode == 2
        assert b"give --sidecar-dir" in nowhere.stderr
    finally:
        server.kill()
        server.wait()
    gone = streamdet("scan", url, "--manifest", tmp_path / "m.db")
    assert gone.returncode == 2
    assert len(gone.stderr.splitlines()) == 1
    local = streamdet("scan", (tmp_path / "in").as_uri(), "--manifest", tmp_path / "m.db", *BASE)
    assert {e["source"] for e in records(local.stdout)} == {
        str(tmp_path / "in" / "reel0" / "003.wav"), str(tmp_path / "in" / "reel1" / "001.wav"),
    }  # fmt: skip
