"""What a scan is to hear: the media of folders, globs, lists and URLs, each once, in one order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MEDIA = frozenset((
    ".3g2", ".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi", ".caf",
    ".dts", ".dv", ".eac3", ".f4v", ".flac", ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka",
    ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".oga", ".ogg", ".ogm",
    ".ogv", ".opus", ".rf64", ".rm", ".rmvb", ".ts", ".tta", ".vob", ".w64", ".wav", ".webm",
    ".wma", ".wmv", ".wv",
))  # fmt: skip
"""What is heard in a folder; a file that is named is heard whatever it is called."""
_STAMPS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


class DiscoveryError(Exception):
    """A path that can't be looked for; one line."""


@dataclass(frozen=True, order=True)
class MediaFile:
    """A file: its ``name`` is its path or URL, ``relative`` what it is called below the folder that
    was looked through; ``size`` in bytes and ``stamp`` change when it does."""

    name: str
    relative: str
    size: int
    stamp: str


def discover(paths: Iterable[str]) -> tuple[list[MediaFile], list[str]]:
    """What there is, sorted by name, and a line for each path that has nothing. Raises FindError
    for URLs that can't be followed here."""
    found: dict[str, MediaFile] = {}
    faults: list[str] = []
    for path in paths:
        before = len(faults)
        here = list(_of_url(path) if "://" in path else _of_path(path, faults))
        if not here and len(faults) == before:
            faults.append(f"{path}: no media in it")
        for one in here:
            found.setdefault(one.name, one)
    return sorted(found.values()), faults


def parse_list(text: str) -> list[str]:
    """The paths of a list, one a line; empty lines and those with a # in front are none."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def select_shard(found: list[MediaFile], number: int, of: int) -> list[MediaFile]:
    """The ``number``-th part, from 0, ``of`` so many; no two have a file in common."""
    return found[number::of]


def _of_path(path: str, faults: list[str]) -> Iterator[MediaFile]:
    if Path(path).is_dir():
        yield from _of_folder(Path(path), faults)
    elif Path(path).exists() or not glob.has_magic(path):
        yield from _of_file(Path(path), Path(path).name, faults)
    else:
        root = _fixed(path)
        # Path.glob wants a folder to begin in; a pattern may be absolute
        for match in sorted(glob.iglob(path, recursive=True)):  # noqa: PTH207
            if not Path(match).is_dir():
                relative = Path(match).relative_to(root).as_posix()
                yield from _of_file(Path(match), relative, faults)


def _fixed(pattern: str) -> Path:
    """The folders of a pattern before the first that has a wildcard."""
    parts = Path(pattern).parts
    magic = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:magic])


def _of_folder(folder: Path, faults: list[str]) -> Iterator[MediaFile]:
    def note(error: OSError) -> None:
        faults.append(f"{error.filename}: {error.strerror}")

    for here, below, names in os.walk(folder, onerror=note):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if _is_media(name):
                path = Path(here) / name
                yield from _of_file(path, path.relative_to(folder).as_posix(), faults)


def _of_file(path: Path, relative: str, faults: list[str]) -> Iterator[MediaFile]:
    try:
        there = path.stat()
    except OSError as error:
        faults.append(f"{path}: {error.strerror}")
        return
    yield MediaFile(str(path), relative, there.st_size, str(there.st_mtime_ns))


def _of_url(url: str) -> Iterator[MediaFile]:
    if urlsplit(url).password is not None:
        raise DiscoveryError("a URL with a password would be written into events; give it to the "
                        "file system's library by its environment instead")  # fmt: skip
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise DiscoveryError(f"{url}: needs fsspec: pip install 'streamdet[cluster]'") from error
    try:
        system, path = url_to_fs(url)
        if glob.has_magic(path):
            yield from _listed(system, system.glob(path, detail=True), None, url)
        elif system.isdir(path):
            yield from _listed(system, system.find(path, detail=True), path, url)
        else:
            yield from _listed(system, {path: system.info(path)}, None, url)
    except Exception as error:  # every file system's library has errors of its own
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DiscoveryError(f"{url}: {said}") from error


def _listed(
    system: Any, listed: dict[str, Any], folder: str | None, url: str
) -> Iterator[MediaFile]:
    parts = urlsplit(url)
    for path, about in sorted(listed.items()):
        if about["type"] != "file" or (folder is not None and not _is_media(Path(path).name)):
            continue
        relative = Path(path).name if folder is None else path.removeprefix(folder).lstrip("/")
        if "file" in (system.protocol if isinstance(system.protocol, tuple) else ()):
            yield from _of_file(Path(path), relative, [])  # a plain path has no need of a copy
            continue
        stamp = next((str(about[key]) for key in _STAMPS if key in about), "")
        # some file systems' paths begin behind the host, some have it
        has_host = parts.netloc in path
        full = (
            system.unstrip_protocol(path) if has_host else f"{parts.scheme}://{parts.netloc}{path}"
        )
        yield MediaFile(full, relative, int(about["size"] or 0), stamp)


def _is_media(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in MEDIA
