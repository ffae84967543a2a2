"""Analyse one file of a scan, in a process of this machine or of a cluster."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
from streamdet.pipeline.budget_threshold import set_up_budget
from streamdet.pipeline.channels import ChannelMode
from streamdet.pipeline.files import FilePipeline
from streamdet.pipeline.jax_setup import configure_jax
from streamdet.pipeline.platform import Platform
from streamdet.scan.discovery import MediaFile
from streamdet.version import installed_version

_COPY_BYTES = 1 << 20
FileState = Literal["analysed", "damaged", "failed"]
"""Damaged files were analysed up to the damage. Failed files have no result."""


class EngineError(Exception):
    """The files cannot be shared between workers; the message is one line."""


@dataclass(frozen=True)
class ScanSettings:
    """Everything besides the model that affects the events of a file.

    ``false_alarms``: the budget of each file in events per second, which replaces the threshold.
    """

    decision: DecisionConfig
    channels: ChannelMode = "auto"
    track: str | None = None
    platform: str = Platform.cpu.value
    verify: bool = True
    false_alarms: float | None = None

    def key(self, bundle: Bundle) -> str:
        """A SHA-256 over these settings, the model and the version of streamdet.

        A file that was analysed under the same key is not analysed again.
        """
        settings = asdict(self) | {"model": bundle.sha256, "streamdet": installed_version()}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FileResult:
    """The result of one file.

    ``events`` are the records of docs/events.md. ``seconds`` of audio were analysed. ``fault`` is
    one line about a damaged or failed file. ``transient`` means that a retry may succeed.
    """

    file: MediaFile
    state: FileState
    sha256: str = ""
    seconds: float = 0.0
    events: tuple[dict[str, Any], ...] = ()
    fault: str = ""
    transient: bool = False


class FileWorker:
    """The engine of one process. It is compiled once and analyses one file after another."""

    def __init__(self, bundle: Bundle, settings: ScanSettings) -> None:
        engine = engine_choice.scan_engine(bundle, Platform(settings.platform), configure_jax)
        engine.warm_up()
        scorer = engine_choice.scorer_for(bundle, engine, verify=settings.verify)
        budget = None
        if settings.false_alarms is not None:
            budget = set_up_budget(bundle, settings.false_alarms, verify=settings.verify)
        self._pipeline = FilePipeline(engine, settings.decision, settings.channels, scorer, budget)
        self._track = settings.track

    def analyse(self, file: MediaFile) -> FileResult:
        """Analyse a whole file. Errors of the file are in the result and never raised."""
        try:
            with local_path(file.name) as path:
                digest = file_digest(path)
                result = self._analyse_local(file, path)
        except OSError as error:
            fault = f"{file.name}: {error.strerror or error}"
            return FileResult(file, "failed", fault=fault, transient=True)
        return replace(result, sha256=digest)

    def _analyse_local(self, file: MediaFile, path: Path) -> FileResult:
        events: list[dict[str, Any]] = []
        samples, rate = 0, 1

        def add_samples(count: int) -> None:
            nonlocal samples
            samples += count

        state: FileState = "analysed"
        fault = ""
        try:
            pipeline = self._pipeline
            if pipeline.budget is not None:
                with closing(self._open(path)) as first_pass:
                    pipeline = pipeline.with_file_threshold(first_pass)
            source = self._open(path)
            rate = source.rate
            try:
                for found in pipeline.analyse(source, file.name, progress=add_samples):
                    events.append(found.event.record())  # noqa: PERF401 - partial if it raises
            finally:
                source.close()
        except SourceError as error:
            state = "damaged" if error.reason == "truncated" else "failed"
            fault = str(error).replace(str(path), file.name)
        except ChannelError as error:
            state, fault = "failed", f"{file.name}: {error}"
        return FileResult(file, state, "", samples / rate, tuple(events), fault)

    def _open(self, path: Path) -> PrefetchedSource:
        return PrefetchedSource(media.open_media(path, track=self._track))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def local_path(name: str) -> Iterator[Path]:
    """The path of a file, or of a temporary copy of a URL. Raises OSError."""
    if "://" not in name:
        yield Path(name)
        return
    import fsspec

    with tempfile.TemporaryDirectory(prefix="streamdet-") as folder:
        path = Path(folder) / Path(name).name
        try:
            _download(fsspec.open(name, "rb"), path)
        except OSError:
            raise
        except Exception as error:  # every fsspec implementation raises its own exceptions
            raise OSError(str(error) or type(error).__name__) from error
        yield path


def _download(remote: Any, path: Path) -> None:
    with remote as stream, path.open("wb") as copy:
        while part := stream.read(_COPY_BYTES):
            copy.write(part)
