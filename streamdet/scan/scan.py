"""A scan: what is known is left alone, the rest is heard, and all of it is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamdet.detection.event import Event, event_from_detection
from streamdet.model.bundle import Bundle
from streamdet.scan.discovery import MediaFile
from streamdet.scan.manifest import Manifest
from streamdet.scan.sidecars import SidecarWriter
from streamdet.scan.worker import FileResult, ScanSettings, digest_of

AnalyseAll = Callable[[Iterable[MediaFile]], Iterator[FileResult]]
"""An engine: what comes of each file, in any order."""


@dataclass(frozen=True)
class ScannedFile:
    """A file that is over with; ``afresh`` where it was heard now, ``fault`` a line about it or
    its sidecar."""

    result: FileResult
    is_new: bool
    fault: str


class Scan:
    """The files of one scan under one manifest."""

    def __init__(
        self,
        files: Sequence[MediaFile],
        manifest: Manifest,
        wishes: ScanSettings,
        bundle: Bundle,
        sidecars: SidecarWriter,
    ) -> None:
        self.files, self._manifest, self._sidecars = files, manifest, sidecars
        self._wishes, self._each = wishes.key(bundle), wishes.channels == "each"

    def run(self, hear_all: AnalyseAll) -> Iterator[ScannedFile]:
        """Each file as it is done: first those that need not be heard, then the others."""
        left = []
        for found in self.files:
            heard = self._known(found)
            if heard is None:
                left.append(found)
            else:
                fault = self._sidecars.write(heard)
                yield ScannedFile(heard, is_new=False, fault=heard.fault or fault)
        for heard in hear_all(left):
            # the sidecars first: what the manifest has is never without them
            fault = "" if heard.state == "failed" else self._sidecars.write(heard)
            self._manifest.put(self._wishes, heard)
            yield ScannedFile(heard, is_new=True, fault=heard.fault or fault)

    def by_file(self) -> Iterator[tuple[str, list[Event]]]:
        """(name, events) of each file that was heard, by their names."""
        for found in self.files:
            heard = self._manifest.known(self._wishes, found)
            if heard is not None and heard.state != "failed":
                yield found.name, [Event.from_record(record) for record in heard.events]

    def events(self) -> Iterator[Event]:
        """All that was found in any of the files, by their names, each in its order."""
        for _, events in self.by_file():
            yield from events

    def _known(self, found: MediaFile) -> FileResult | None:
        heard = self._manifest.known(self._wishes, found)
        if heard is not None:
            return None if heard.state == "failed" else heard  # what failed is tried again
        if "://" in found.name:
            return None
        digest = ""
        for other in self._manifest.of_size(self._wishes, found.size):
            try:
                digest = digest or digest_of(Path(found.name))
            except OSError:
                return None
            if other.sha256 == digest:
                same = _renamed(other, found, each=self._each)
                self._manifest.put(self._wishes, same)
                return same
        return None


def _renamed(heard: FileResult, found: MediaFile, *, each: bool) -> FileResult:
    """What came of the same content under another name."""
    events = []
    for record in heard.events:
        event = Event.from_record(record)
        renamed = event_from_detection(
            event.detection, source=found.name, model=event.model, rate=event.sample_rate,
            separate_channels=each,
        )  # fmt: skip
        events.append(record | {"source": found.name, "id": renamed.id})
    fault = heard.fault.replace(heard.file.name, found.name)
    return replace(heard, file=found, events=tuple(events), fault=fault)
