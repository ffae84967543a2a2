"""A scan: analyse the files that the manifest does not have, and store every result in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamdet.detection.event import Event, event_from_detection
from streamdet.model.bundle import Bundle
from streamdet.scan.discovery import MediaFile
from streamdet.scan.manifest import Manifest
from streamdet.scan.sidecars import SidecarWriter
from streamdet.scan.worker import FileResult, ScanSettings, file_digest

AnalyseAll = Callable[[Iterable[MediaFile]], Iterator[FileResult]]
"""Analyses files, on this machine or on a cluster, and yields their results in any order."""


@dataclass(frozen=True)
class ScannedFile:
    """A file that is done.

    ``is_new`` is false where the result is from an earlier run. ``fault`` is one line about the
    file or its sidecars, or empty.
    """

    result: FileResult
    is_new: bool
    fault: str


class Scan:
    """The files of one scan, the settings and the manifest with their results."""

    def __init__(
        self,
        files: Sequence[MediaFile],
        manifest: Manifest,
        settings: ScanSettings,
        bundle: Bundle,
        sidecars: SidecarWriter,
    ) -> None:
        self.files, self._manifest, self._sidecars = files, manifest, sidecars
        self._key, self._each_channel = settings.key(bundle), settings.channels == "each"

    def run(self, analyse_all: AnalyseAll) -> Iterator[ScannedFile]:
        """Yield each file when it is done, those with a known result first."""
        to_analyse = []
        for file in self.files:
            result = self._known_result(file)
            if result is None:
                to_analyse.append(file)
            else:
                fault = self._sidecars.write(result)
                yield ScannedFile(result, is_new=False, fault=result.fault or fault)
        for result in analyse_all(to_analyse):
            # sidecars first, so that a file in the manifest always has them
            fault = "" if result.state == "failed" else self._sidecars.write(result)
            self._manifest.put(self._key, result)
            yield ScannedFile(result, is_new=True, fault=result.fault or fault)

    def events_by_file(self) -> Iterator[tuple[str, list[Event]]]:
        """(name, events) of each file that was analysed, in the order of ``files``."""
        for file in self.files:
            result = self._manifest.result(self._key, file)
            if result is not None and result.state != "failed":
                yield file.name, [Event.from_record(record) for record in result.events]

    def events(self) -> Iterator[Event]:
        """All events, in the order of ``files`` and then of time."""
        for _, events in self.events_by_file():
            yield from events

    def _known_result(self, file: MediaFile) -> FileResult | None:
        """The result of this file, or of one with the same content. None if there is none, or if
        the analysis failed."""
        result = self._manifest.result(self._key, file)
        if result is not None:
            return None if result.state == "failed" else result
        if "://" in file.name:
            return None
        digest = ""
        for other in self._manifest.results_of_size(self._key, file.size):
            try:
                digest = digest or file_digest(Path(file.name))
            except OSError:
                return None
            if other.sha256 == digest:
                copied = _copy_result(other, file, each_channel=self._each_channel)
                self._manifest.put(self._key, copied)
                return copied
        return None


def _copy_result(result: FileResult, file: MediaFile, *, each_channel: bool) -> FileResult:
    """The result for another file with the same content. Event ids depend on the name."""
    events = []
    for record in result.events:
        event = Event.from_record(record)
        renamed = event_from_detection(
            event.detection, source=file.name, model=event.model, rate=event.sample_rate,
            separate_channels=each_channel,
        )  # fmt: skip
        events.append(record | {"source": file.name, "id": renamed.id})
    fault = result.fault.replace(result.file.name, file.name)
    return replace(result, file=file, events=tuple(events), fault=fault)
