"""One file of a scan, heard in a process that may be any of many, on any machine."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from streamdet.audio import media
from streamdet.audio.prefetch import PrefetchedSource
from streamdet.audio.resample import ChannelError
from streamdet.audio.source import SourceError
from streamdet.detection.decision import DecisionConfig
from streamdet.model.bundle import Bundle
from streamdet.pipeline import engine_choice
from streamdet.pipeline.channels import ChannelMode
from streamdet.pipeline.files import FilePipeline
from streamdet.pipeline.jax_setup import configure_jax
from streamdet.pipeline.platform import Platform
from streamdet.scan.discovery import MediaFile
from streamdet.version import installed_version

_PART = 1 << 20
State = Literal["heard", "damaged", "failed"]


class EngineError(Exception):
    """Files can't be shared out; one line."""


@dataclass(frozen=True)
class ScanSettings:
    """How each file is heard; whatever may change an event is here."""

    decision: DecisionConfig
    channels: ChannelMode = "auto"
    track: str | None = None
    platform: str = Platform.cpu.value

    def key(self, bundle: Bundle) -> str:
        """A name (SHA-256) of these and of the model: a file that was heard under it need not be
        heard again."""
        about = asdict(self) | {"model": bundle.sha256, "streamdet": installed_version()}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FileResult:
    """What came of a file: ``events`` are the records of docs/events.md, ``seconds`` how much was
    heard; ``fault`` is a line where it is damaged or failed, and ``passing`` tells that another
    try may do better."""

    file: MediaFile
    state: State
    sha256: str = ""
    seconds: float = 0.0
    events: tuple[dict[str, Any], ...] = ()
    fault: str = ""
    transient: bool = False


class FileWorker:
    """The engine of one process, compiled once, ready for one file after another."""

    def __init__(self, bundle: Bundle, wishes: ScanSettings) -> None:
        engine = engine_choice.scan_engine(bundle, Platform(wishes.platform), configure_jax)
        engine.warm_up()
        self._listener = FilePipeline(engine, wishes.decision, wishes.channels)
        self._track = wishes.track

    def analyse(self, found: MediaFile) -> FileResult:
        """All of a file, decoded beside the listening; never raises for what a file may be."""
        try:
            with _local(found.name) as path:
                digest = digest_of(path)
                heard = self._analyse_local(found, path)
        except OSError as error:
            fault = f"{found.name}: {error.strerror or error}"
            return FileResult(found, "failed", fault=fault, transient=True)
        return replace(heard, sha256=digest)

    def _analyse_local(self, found: MediaFile, path: Path) -> FileResult:
        events: list[dict[str, Any]] = []
        samples, rate = 0, 1

        def count(more: int) -> None:
            nonlocal samples
            samples += more

        state: State = "heard"
        fault = ""
        try:
            source = PrefetchedSource(media.open_media(path, track=self._track))
            rate = source.rate
            try:
                for one in self._listener.analyse(source, found.name, progress=count):
                    events.append(one.event.record())  # noqa: PERF401 - kept where it raises
            finally:
                source.close()
        except SourceError as error:
            state = "damaged" if error.reason == "truncated" else "failed"
            fault = str(error).replace(str(path), found.name)
        except ChannelError as error:
            state, fault = "failed", f"{found.name}: {error}"
        return FileResult(found, state, "", samples / rate, tuple(events), fault)


def digest_of(path: Path) -> str:
    """SHA-256 of a file; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _local(name: str) -> Iterator[Path]:
    """A path to read: the file itself, or a copy of what a URL names, gone afterwards."""
    if "://" not in name:
        yield Path(name)
        return
    import fsspec

    with tempfile.TemporaryDirectory(prefix="streamdet-") as folder:
        path = Path(folder) / Path(name).name
        try:
            _copy(fsspec.open(name, "rb"), path)
        except OSError:
            raise
        except Exception as error:  # every file system's library has errors of its own
            raise OSError(str(error) or type(error).__name__) from error
        yield path


def _copy(remote: Any, to: Path) -> None:
    with remote as stream, to.open("wb") as copy:
        while part := stream.read(_PART):
            copy.write(part)
