"""The input files and sidecars of `scan`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from streamdet.cli.errors import CommandError
from streamdet.cli.event_outputs import OutputFormat, require_otio

if TYPE_CHECKING:
    from streamdet.formats import EventFormat
    from streamdet.scan.discovery import MediaFile
    from streamdet.scan.sidecars import SidecarWriter


def sidecar_writer(
    formats: list[OutputFormat] | None, folder: Path | None, fps: str | None
) -> SidecarWriter:
    """The writer of the ``--sidecar`` options. Raises CommandError for a wrong one."""
    from streamdet.formats import FORMATS, SUFFIX_OF, timecode
    from streamdet.scan.sidecars import SidecarWriter

    sidecar_formats: list[EventFormat] = [FORMATS[name] for name in formats or []]
    for name in sidecar_formats:
        if name not in SUFFIX_OF:
            raise CommandError(f"--sidecar {name}: only for a terminal. Use another format")
    if folder is not None and not sidecar_formats:
        raise CommandError("--sidecar-dir: needs --sidecar FORMAT")
    if fps is not None:
        try:
            timecode.parse_frame_rate(fps)
        except ValueError as error:
            raise CommandError(f"--fps {fps}: {error}") from error
    if "otio" in sidecar_formats:
        require_otio()
    return SidecarWriter(sidecar_formats, folder, fps)


def check_sidecar_paths(sidecars: SidecarWriter, files: list[MediaFile]) -> None:
    """Raise CommandError where a sidecar has no folder, or two files would share one."""
    if sidecars.formats and sidecars.folder is None and any("://" in file.name for file in files):
        raise CommandError("--sidecar: cannot be written beside a URL. Give --sidecar-dir")
    if (path := sidecars.duplicate_path(files)) is not None:
        raise CommandError(f"--sidecar-dir: two files would write {path}. Scan them separately")


def discover_files(
    paths: list[str], lists: list[str], shard: str | None
) -> tuple[list[MediaFile], list[str]]:
    """The media files of all paths and lists, and one line for each path without any.

    Raises CommandError where there are no paths, or a list, URL or shard is wrong.
    """
    from streamdet.scan import discovery

    for name in lists:
        paths = paths + discovery.parse_list(_read_list(name))
    if not paths:
        raise CommandError("no input. Give files, folders, globs or URLs, or --list FILE")
    try:
        files, faults = discovery.discover(paths)
    except discovery.DiscoveryError as error:
        raise CommandError(str(error)) from error
    if shard is None:
        return files, faults
    return discovery.select_shard(files, *_parse_shard(shard)), faults


def _parse_shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise CommandError(f"--shard {text}: not a shard. Of 4 shards they are 0/4, 1/4, 2/4, 3/4")
    return int(index), int(count)


def _read_list(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise CommandError(f"--list {name}: {error.strerror}") from error
