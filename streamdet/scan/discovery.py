"""Find the media files of a scan: in folders, globs, lists and URLs, each once, sorted by name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MEDIA_SUFFIXES = frozenset((
    ".3g2", ".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi", ".caf",
    ".dts", ".dv", ".eac3", ".f4v", ".flac", ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka",
    ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".oga", ".ogg", ".ogm",
    ".ogv", ".opus", ".rf64", ".rm", ".rmvb", ".ts", ".tta", ".vob", ".w64", ".wav", ".webm",
    ".wma", ".wmv", ".wv",
))  # fmt: skip
"""The files of a folder that are scanned. A file given by its own path may have any suffix."""
_STAMP_KEYS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


class DiscoveryError(Exception):
    """A URL cannot be searched; the message is one line."""


@dataclass(frozen=True, order=True)
class MediaFile:
    """A file to analyse.

    ``name`` is its path or URL. ``relative`` is its path below the folder that was searched.
    ``size`` (bytes) and ``stamp`` (modification time or ETag) change when the file does.
    """

    name: str
    relative: str
    size: int
    stamp: str


def discover(paths: Iterable[str]) -> tuple[list[MediaFile], list[str]]:
    """The media files of all paths, sorted by name, and one line for each path without any.

    Raises DiscoveryError for a URL that cannot be read.
    """
    files: dict[str, MediaFile] = {}
    faults: list[str] = []
    for path in paths:
        faults_before = len(faults)
        matches = list(_find_at_url(path) if "://" in path else _find_at_path(path, faults))
        if not matches and len(faults) == faults_before:
            faults.append(f"{path}: no media files found")
        for file in matches:
            files.setdefault(file.name, file)
    return sorted(files.values()), faults


def parse_list(text: str) -> list[str]:
    """The paths of a list with one path per line. Skips empty lines and lines that start with #."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def select_shard(files: list[MediaFile], index: int, count: int) -> list[MediaFile]:
    """Shard ``index`` (from 0) of ``count`` disjoint shards."""
    return files[index::count]


def _find_at_path(path: str, faults: list[str]) -> Iterator[MediaFile]:
    if Path(path).is_dir():
        yield from _find_in_folder(Path(path), faults)
    elif Path(path).exists() or not glob.has_magic(path):
        yield from _stat_file(Path(path), Path(path).name, faults)
    else:
        root = _folder_before_wildcard(path)
        # not Path.glob: it does not accept an absolute pattern
        for match in sorted(glob.iglob(path, recursive=True)):  # noqa: PTH207
            if not Path(match).is_dir():
                relative = Path(match).relative_to(root).as_posix()
                yield from _stat_file(Path(match), relative, faults)


def _folder_before_wildcard(pattern: str) -> Path:
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _find_in_folder(root: Path, faults: list[str]) -> Iterator[MediaFile]:
    def add_fault(error: OSError) -> None:
        faults.append(f"{error.filename}: {error.strerror}")

    for folder, subfolders, names in os.walk(root, onerror=add_fault):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if _is_media(name):
                path = Path(folder) / name
                yield from _stat_file(path, path.relative_to(root).as_posix(), faults)


def _stat_file(path: Path, relative: str, faults: list[str]) -> Iterator[MediaFile]:
    try:
        status = path.stat()
    except OSError as error:
        faults.append(f"{path}: {error.strerror}")
        return
    yield MediaFile(str(path), relative, status.st_size, str(status.st_mtime_ns))


def _find_at_url(url: str) -> Iterator[MediaFile]:
    if urlsplit(url).password is not None:
        raise DiscoveryError("URL with a password: it would be written into every event. Set the "
                        "credentials in the environment of the file system's library")  # fmt: skip
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise DiscoveryError(f"{url}: needs fsspec: pip install 'streamdet[cluster]'") from error
    try:
        system, path = url_to_fs(url)
        if glob.has_magic(path):
            yield from _convert_listing(system, system.glob(path, detail=True), None, url)
        elif system.isdir(path):
            yield from _convert_listing(system, system.find(path, detail=True), path, url)
        else:
            yield from _convert_listing(system, {path: system.info(path)}, None, url)
    except Exception as error:  # every fsspec implementation raises its own exceptions
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DiscoveryError(f"{url}: {first_line}") from error


def _convert_listing(
    system: Any, listing: dict[str, Any], folder: str | None, url: str
) -> Iterator[MediaFile]:
    """The media files of an fsspec listing. All files where ``folder`` is None."""
    parts = urlsplit(url)
    for path, info in sorted(listing.items()):
        if info["type"] != "file" or (folder is not None and not _is_media(Path(path).name)):
            continue
        relative = Path(path).name if folder is None else path.removeprefix(folder).lstrip("/")
        if "file" in (system.protocol if isinstance(system.protocol, tuple) else ()):
            yield from _stat_file(Path(path), relative, [])  # read in place, without a copy
            continue
        stamp = next((str(info[key]) for key in _STAMP_KEYS if key in info), "")
        # the paths of some file systems contain the host, those of others start after it
        has_host = parts.netloc in path
        full_url = (
            system.unstrip_protocol(path) if has_host else f"{parts.scheme}://{parts.netloc}{path}"
        )
        yield MediaFile(full_url, relative, int(info["size"] or 0), stamp)


def _is_media(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in MEDIA_SUFFIXES
