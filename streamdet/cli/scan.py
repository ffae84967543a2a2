"""`streamdet scan`: an archive, file by file, to one table."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamdet.cli import event_outputs, options
from streamdet.cli.errors import BAD_INPUT, DAMAGED, INTERRUPTED, CommandError, quiet_pipe
from streamdet.cli.event_outputs import OutputFormat
from streamdet.pipeline.platform import Platform, PlatformError

if TYPE_CHECKING:
    from streamdet.formats import EventFormat
    from streamdet.model.bundle import Bundle
    from streamdet.scan.discovery import MediaFile
    from streamdet.scan.manifest import Manifest
    from streamdet.scan.scan import AnalyseAll, Scan
    from streamdet.scan.sidecars import SidecarWriter
    from streamdet.scan.worker import ScanSettings
    from streamdet.scoring.labels import ShotLabel


class EngineName(StrEnum):
    """Where the files are heard."""

    local = "local"
    ray = "ray"


def scan(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Files, folders, quoted globs (**), URLs."),
    ] = None,
    lists: Annotated[
        list[str] | None,
        typer.Option("--list", help="A file with a path a line, - for stdin; may be given again."),
    ] = None,
    manifest: Annotated[
        Path, typer.Option(help="What is done; an interrupted scan goes on by it.")
    ] = Path("streamdet-scan.db"),
    output: Annotated[
        list[Path] | None,
        typer.Option(help="Write the table here, in the form of its name; may be given again."),
    ] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="jsonl, but table where stdout is a terminal."),
    ] = None,
    sidecar: Annotated[
        list[OutputFormat] | None,
        typer.Option(help="Beside each file one in this form, NAME.gunshots.*; again for more."),
    ] = None,
    sidecar_dir: Annotated[
        Path | None, typer.Option(help="Put the sidecars below this folder instead.")
    ] = None,
    fps: Annotated[
        str | None, typer.Option(help="Of the sidecars of films that don't say theirs.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; one for each core if not given.")
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="This machine, or a Ray cluster (extra cluster).")
    ] = EngineName.local,
    address: Annotated[
        str | None, typer.Option(help="The cluster's; RAY_ADDRESS, or one made here, if not given.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only the I-th of N parts, from 0.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="True shots, as of `file`: say how right the events are.")
    ] = None,
    threshold: options.Threshold = None,
    operating_point: options.Point = None,
    model: options.Model = None,
    platform: Annotated[
        Platform, typer.Option(help="numpy, or JAX on cpu (auto), gpu or tpu.")
    ] = Platform.auto,
    channels: options.ChannelsOption = "auto",
    track: Annotated[
        str | None, typer.Option(help="This sound track: its number from 1, or a language (eng).")
    ] = None,
) -> None:
    """Find the gunshots in whole archives, in many processes or on a cluster; go on where it was.

    Exit code 0 where all was heard, 3 where some files are damaged, 2 where some could not be read.

    Example: streamdet scan /archive --jobs 8 --sidecar srt --output shots.csv
    """
    from streamdet.scan.manifest import ManifestError
    from streamdet.scan.scan import Scan
    from streamdet.scan.worker import ScanSettings

    bundle = options.load_bundle(model)
    decision = options.decision_for(bundle, threshold, operating_point)
    runs_on = Platform.cpu if platform is Platform.auto else platform
    wishes = ScanSettings(decision, options.parse_channel_option(channels), track, runs_on.value)
    truth = None if labels is None else options.read_labels(labels)
    beside = _sidecars(sidecar, sidecar_dir, fps)
    found, faults = _found(paths or [], lists or [], shard)
    if beside.formats and sidecar_dir is None and any("://" in one.name for one in found):
        raise CommandError(
            "--sidecar: beside what a URL names nothing is written; give --sidecar-dir"
        )
    if (twice := beside.duplicate_path(found)) is not None:
        raise CommandError(f"--sidecar-dir: two files would both write {twice}; scan them apart")
    wanted = event_outputs.OutputOptions(output or [], output_format, False, None, None)
    names = [one.name for one in found]
    event_outputs.check(wanted, names)
    hear_all = _engine(engine, bundle, wishes, jobs, address)
    try:
        with _manifest(manifest) as kept:
            this = Scan(found, kept, wishes, bundle, beside)
            code = _scan(this, hear_all, faults)
            with quiet_pipe(), event_outputs.open_outputs(wanted, names) as sink:
                for event in this.events():
                    sink.write(event)
                sink.close()
            if truth is not None:
                _score(this, truth)
    except ManifestError as error:
        raise CommandError(f"--manifest {error}") from error
    if code:
        raise typer.Exit(code)


def _scan(this: Scan, hear_all: AnalyseAll, faults: list[str]) -> int:
    """Hear them all, with what there is to say on stderr; the exit code."""
    from streamdet.cli.progress import ScanProgress
    from streamdet.scan.worker import EngineError
    from streamdet.text import printable

    code = 0
    with ScanProgress(this.files) as counting, _terminable():
        for fault in faults:
            counting.print_line(printable(f"streamdet: {fault}"))
            code = BAD_INPUT
        try:
            for done in this.run(hear_all):
                counting.add_file(done)
                if done.fault:
                    counting.print_line(printable(f"streamdet: {done.fault}"))
                if done.result.state == "failed" or (done.fault and not done.result.fault):
                    code = BAD_INPUT
                elif done.result.state == "damaged":
                    code = code or DAMAGED
        except KeyboardInterrupt:
            code = INTERRUPTED
        except (EngineError, PlatformError) as error:
            raise CommandError(str(error)) from error
    sys.stderr.write(f"streamdet: {counting.summary(interrupted=code == INTERRUPTED)}\n")
    return code


def _score(this: Scan, truth: list[ShotLabel]) -> None:
    from streamdet.scoring.summary import EventScorer

    scoring = EventScorer(truth)
    for name, events in this.by_file():
        scoring.add_file(name, [(e.onset_s, e.offset_s or e.onset_s) for e in events])
    for line in scoring.summary_lines():
        sys.stderr.write(f"streamdet: {line}\n")


def _engine(
    engine: EngineName, bundle: Bundle, wishes: ScanSettings, jobs: int | None, address: str | None
) -> AnalyseAll:
    if engine is EngineName.ray:
        from streamdet.scan import ray_cluster

        return lambda files: ray_cluster.analyse_all(bundle, wishes, files, jobs, address)
    if address is not None:
        raise CommandError("--address: is of a cluster; give --engine ray too")
    from streamdet.pipeline.engine_choice import available_cores
    from streamdet.scan import processes

    count = jobs or available_cores()
    return lambda files: processes.analyse_all(bundle, wishes, files, count)


def _sidecars(
    forms: list[OutputFormat] | None, folder: Path | None, fps: str | None
) -> SidecarWriter:
    from streamdet.formats import FORMATS, SUFFIX_OF, timecode
    from streamdet.scan.sidecars import SidecarWriter

    wanted: list[EventFormat] = [FORMATS[form] for form in forms or []]
    for form in wanted:
        if form not in SUFFIX_OF:
            raise CommandError(f"--sidecar {form}: is for a terminal; choose another form")
    if folder is not None and not wanted:
        raise CommandError("--sidecar-dir: wants --sidecar FORM too")
    if fps is not None:
        try:
            timecode.parse_frame_rate(fps)
        except ValueError as error:
            raise CommandError(f"--fps {fps}: {error}") from error
    if "otio" in wanted:
        event_outputs.need_otio()
    return SidecarWriter(wanted, folder, fps)


def _found(
    paths: list[str], lists: list[str], shard: str | None
) -> tuple[list[MediaFile], list[str]]:
    from streamdet.scan import discovery

    for name in lists:
        paths = paths + discovery.parse_list(_text(name))
    if not paths:
        raise CommandError("scan: what? give files, folders, globs, or --list FILE")
    try:
        found, faults = discovery.discover(paths)
    except discovery.DiscoveryError as error:
        raise CommandError(str(error)) from error
    if shard is None:
        return found, faults
    number, of = _shard(shard)
    return discovery.select_shard(found, number, of), faults


def _shard(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not (slash and number.isdigit() and of.isdigit() and int(number) < int(of)):
        raise CommandError(f"--shard {text}: no part; write 0/4, 1/4, 2/4 or 3/4")
    return int(number), int(of)


def _text(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise CommandError(f"--list {name}: {error.strerror}") from error


@contextmanager
def _manifest(path: Path) -> Iterator[Manifest]:
    from streamdet.scan.manifest import Manifest

    kept = Manifest(path)
    try:
        yield kept
    finally:
        kept.close()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM is to end it as Ctrl-C does: with what there is."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
