"""Make a data folder from the sound effects in Debian packages, most of them not shots.

``packages.csv`` gives the category and label of each package's files, by patterns on their names.
The packages are downloaded with apt and unpacked, not installed. All sounds are for training; a
sound that is also in a val or test clip of another folder is left out.
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
"""Files used for one row of the table; if there are more, evenly spaced ones."""
MIN_PEAK = 1e-3
"""Files with a lower peak are taken for silence."""


@dataclass(frozen=True)
class PackageSound:
    """One decoded file of a package; ``samples`` is (n,) float32 at 16 kHz."""

    name: str
    row: dict[str, str]
    samples: np.ndarray
    native_rate: int
    native_channels: int


def fetch_packages(to: Path, exclude_from: Path | None = None) -> int:
    """Make the data folder ``to`` from all packages; returns its number of sounds.

    Sounds that are also in val or test clips of the data folder ``exclude_from`` are left out.
    Raises TrainError if a package can't be downloaded, that folder can't be read, or ``to`` can't
    be written.
    """
    table = read_rows(TABLE)
    held_out = _fingerprint_held_out(exclude_from) if exclude_from else {}
    try:
        return _write_folder(to, table, held_out)
    except OSError as error:
        raise TrainError(f"{to}: can't be written: {error.strerror}") from error


def _write_folder(to: Path, table: list[dict[str, str]], held_out: dict[str, np.ndarray]) -> int:
    names = sorted({row["package"] for row in table})
    rows: list[dict[str, Any]] = []
    prints: dict[str, np.ndarray] = {}
    console = Console(stderr=True)
    for name in track(names, "packages", console=console, disable=not console.is_terminal):
        for sound in _read_package(name, [r for r in table if r["package"] == name]):
            path = Path("audio") / name / f"{sound.name}.flac"
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(to / path, sound.samples, RATE, subtype="PCM_16")
            rows.append(_make_manifest_row(sound, path.as_posix()))
            prints[path.as_posix()] = compute_fingerprint(sound.samples)
    shared = _find_shared(prints, held_out)
    for path in shared:
        (to / path).unlink()
    rows = [r for r in rows if r["path"] not in shared]
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
        files = [
            path
            for path in sorted((folder / "files").rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink()
        ]
        seen: set[str] = set()
        for row, paths in _assign_files(files, rows):
            step = max(1, -(-len(paths) // MAX_FILES))
            for path in paths[::step]:
                sound = _decode(path, row, seen)
                if sound is not None:
                    yield sound


def _assign_files(
    files: list[Path], rows: list[dict[str, str]]
) -> Iterator[tuple[dict[str, str], list[Path]]]:
    """Yield each row with its files; a file belongs to the first row with a matching pattern."""
    unassigned = list(files)
    for row in rows:
        patterns = row["files"].split()
        matching = [p for p in unassigned if any(fnmatchcase(p.stem, x) for x in patterns)]
        unassigned = [p for p in unassigned if p not in matching]
        yield row, matching


def _decode(path: Path, row: dict[str, str], seen: set[str]) -> PackageSound | None:
    """Decode a file; None if it is a repeat, too short, silent or not decodable."""
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


def _make_manifest_row(sound: PackageSound, path: str) -> dict[str, Any]:
    row = sound.row
    stem = re.sub(r"[-\d]*-[0-9a-f]{8}$", "", sound.name)
    return {
        "path": path,
        "split": "train",
        "category": row["category"],
        "label": row["label"],
        "kind": "effect" if row["category"] == "gunshot" else "",
        "source": f"debian:{row['package']}",
        "origin_group": f"debian:{row['package']}/{stem}",
        "licence": row["licence"],
        "duration_s": f"{len(sound.samples) / RATE:.3f}",
        "native_rate": str(sound.native_rate),
        "native_channels": str(sound.native_channels),
    }


def _fingerprint_held_out(data: Path) -> dict[str, np.ndarray]:
    """Compute the fingerprints of a data folder's val and test clips."""
    prints = {}
    for row in read_manifest(data):
        if row["split"] != "train":
            path = data / row["path"]
            try:
                samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
            except (OSError, soundfile.LibsndfileError) as error:
                raise TrainError(f"{path}: {error}") from error
            prints[f"held-out:{row['path']}"] = compute_fingerprint(samples[:, 0])
    return prints


def _find_shared(prints: dict[str, np.ndarray], held_out: dict[str, np.ndarray]) -> set[str]:
    """The paths in ``prints`` whose sound is also in ``held_out``."""
    pairs = find_duplicates({**prints, **held_out})
    return {
        path
        for one, two, _ in pairs
        for path, other in ((one, two), (two, one))
        if path in prints and other in held_out
    }


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise TrainError(
            f"{command[0]}: not found. Debian packages can only be downloaded on a system with apt."
        ) from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise TrainError(
            f"{' '.join(command[:3])}: {reason}. Run `apt-get update` and try again."
        ) from error
