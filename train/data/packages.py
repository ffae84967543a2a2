"""More sounds, most of them no shots: a data folder made of Debian packages' sound effects.

``packages.csv`` says which files of which package are what, by patterns on their names. The
packages are downloaded by apt and unpacked, never installed; all of it is for training, and a
sound that a val or test clip of another folder holds too is left out.
"""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from rich.console import Console
from rich.progress import track

from streamdet.constants import RATE
from train.data.checks import COLUMNS, read_manifest
from train.data.fingerprint import compute_fingerprint, find_duplicates
from train.data.table import read_rows
from train.errors import TrainError

TABLE = Path(__file__).with_name("packages.csv")
SUFFIXES = (".wav", ".ogg", ".oga", ".flac")
LONGEST_S, SHORTEST_S = 60, 0.04
MAX_FILES = 240
"""Files of one row of the table; of more, evenly spaced ones."""
MIN_PEAK = 1e-3


@dataclass(frozen=True)
class PackageSound:
    """One file of a package, decoded: ``samples`` (n,) float32 at 16 kHz."""

    name: str
    row: dict[str, str]
    samples: np.ndarray
    native_rate: int
    native_channels: int


def fetch_packages(to: Path, exclude_from: Path | None = None) -> int:
    """Make the data folder ``to`` of all packages; returns how many sounds it has.

    Sounds that val or test clips of the folder ``apart_from`` hold are left out. Raises
    TrainError where a package can't be had, that folder not read, or ``to`` not written.
    """
    table = read_rows(TABLE)
    theirs = _fingerprint_held_out(exclude_from) if exclude_from else {}
    try:
        return _write_folder(to, table, theirs)
    except OSError as error:
        raise TrainError(f"{to}: can't be written: {error.strerror}") from error


def _write_folder(to: Path, table: list[dict[str, str]], theirs: dict[str, np.ndarray]) -> int:
    names = sorted({row["package"] for row in table})
    rows: list[dict[str, Any]] = []
    prints: dict[str, np.ndarray] = {}
    console = Console(stderr=True)
    for name in track(names, "packages", console=console, disable=not console.is_terminal):
        for effect in _read_package(name, [r for r in table if r["package"] == name]):
            path = Path("audio") / name / f"{effect.name}.flac"
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(to / path, effect.samples, RATE, subtype="PCM_16")
            rows.append(_manifest_row(effect, path.as_posix()))
            prints[path.as_posix()] = compute_fingerprint(effect.samples)
    held = _find_shared(prints, theirs)
    for path in held:
        (to / path).unlink()
    rows = [r for r in rows if r["path"] not in held]
    part = to / "manifest.csv.part"
    with part.open("w", newline="", encoding="utf-8") as sink:
        writer: csv.DictWriter[str] = csv.DictWriter(sink, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (to / "exclusions.csv").write_text("path,reason\n")
    part.rename(to / "manifest.csv")
    return len(rows)


def _read_package(package: str, rows: list[dict[str, str]]) -> Iterator[PackageSound]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _run(["apt-get", "download", package], folder)
        archive = next(folder.glob("*.deb"))
        _run(["dpkg-deb", "-x", archive.name, "files"], folder)
        found = [
            path
            for path in sorted((folder / "files").rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink()
        ]
        seen: set[str] = set()
        for row, paths in _assign_files(found, rows):
            step = max(1, -(-len(paths) // MAX_FILES))
            for path in paths[::step]:
                effect = _decode(path, row, seen)
                if effect is not None:
                    yield effect


def _assign_files(
    found: list[Path], rows: list[dict[str, str]]
) -> Iterator[tuple[dict[str, str], list[Path]]]:
    """Each row with its files; a file is the first row's whose patterns name it."""
    left = list(found)
    for row in rows:
        patterns = row["files"].split()
        mine = [p for p in left if any(fnmatchcase(p.stem, pattern) for pattern in patterns)]
        left = [p for p in left if p not in mine]
        yield row, mine


def _decode(path: Path, row: dict[str, str], seen: set[str]) -> PackageSound | None:
    """A file's sound; None for one that came before, is silent or does not decode."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest in seen:
        return None
    seen.add(digest)
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        return None
    mono = samples[: LONGEST_S * rate].mean(axis=1)
    if len(mono) < SHORTEST_S * rate or np.abs(mono).max() < MIN_PEAK:
        return None
    resampled = np.clip(soxr.resample(mono, rate, RATE), -1.0, 1.0)
    name = f"{re.sub(r'[^A-Za-z0-9]+', '-', path.stem).strip('-')}-{digest[:8]}"
    return PackageSound(name, row, resampled.astype(np.float32), rate, samples.shape[1])


def _manifest_row(effect: PackageSound, path: str) -> dict[str, Any]:
    row = effect.row
    stem = re.sub(r"[-\d]*-[0-9a-f]{8}$", "", effect.name)
    return {
        "path": path,
        "split": "train",
        "category": row["category"],
        "label": row["label"],
        "kind": "effect" if row["category"] == "gunshot" else "",
        "source": f"debian:{row['package']}",
        "origin_group": f"debian:{row['package']}/{stem}",
        "licence": row["licence"],
        "duration_s": f"{len(effect.samples) / RATE:.3f}",
        "native_rate": str(effect.native_rate),
        "native_channels": str(effect.native_channels),
    }


def _fingerprint_held_out(other: Path) -> dict[str, np.ndarray]:
    """The fingerprints of a data folder's val and test clips."""
    prints = {}
    for row in read_manifest(other):
        if row["split"] != "train":
            path = other / row["path"]
            try:
                samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
            except (OSError, soundfile.LibsndfileError) as error:
                raise TrainError(f"{path}: {error}") from error
            prints[f"other:{row['path']}"] = compute_fingerprint(samples[:, 0])
    return prints


def _find_shared(prints: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> set[str]:
    """The paths among ``prints`` whose sound is one of ``theirs``."""
    pairs = find_duplicates({**prints, **theirs})
    return {
        mine
        for one, two, _ in pairs
        for mine, its in ((one, two), (two, one))
        if mine in prints and its in theirs
    }


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise TrainError(f"{command[0]}: not found; Debian's packages are had by apt") from error
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["no word why"])[-1]
        said = " ".join(command[:3])
        raise TrainError(f"{said}: {why}; `apt-get update` renews the list") from error
