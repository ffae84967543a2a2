"""`streamdet scan`: gunshots in many files, as one table."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamdet.cli import event_outputs, options, scan_inputs
from streamdet.cli.errors import (
    BAD_INPUT,
    DAMAGED,
    INTERRUPTED,
    CommandError,
    exit_on_closed_pipe,
)
from streamdet.cli.event_outputs import OutputFormat, OutputOptions
from streamdet.pipeline.platform import Platform, PlatformError

if TYPE_CHECKING:
    from streamdet.model.bundle import Bundle
    from streamdet.scan.manifest import Manifest
    from streamdet.scan.scan import AnalyseAll, Scan
    from streamdet.scan.worker import ScanSettings
    from streamdet.scoring.labels import ShotLabel


class EngineName(StrEnum):
    """Where the worker processes run."""

    local = "local"
    ray = "ray"


def scan(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files, folders, quoted globs or URLs."),
    ] = None,
    lists: options.ListOption = None,
    manifest: Annotated[
        Path,
        typer.Option(metavar="FILE", help="SQLite file with the results, used to continue a scan."),
    ] = Path("streamdet-scan.db"),
    output: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write the table to this file, in the format of its suffix: .jsonl, .csv or "
            ".selections.txt (Raven). Can be repeated.",
            show_default="stdout",
        ),
    ] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format",
            help="Format of the table. Only jsonl, csv, table and raven hold the "
            "events of several files.",
            show_default="table if stdout is a terminal, else jsonl",
        ),
    ] = None,
    sidecar: Annotated[
        list[OutputFormat] | None,
        typer.Option(
            metavar="FORMAT",
            help="Write a file NAME.gunshots.SUFFIX in this format beside each media file: any "
            "format of `streamdet file` except table. Can be repeated.",
        ),
    ] = None,
    sidecar_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the sidecars below this folder, in the same subfolders as the media files. "
            "Required for URLs.",
            show_default="beside the media files",
        ),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Frame rate for edl, fcpxml and otio sidecars of films that state none.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of worker processes.",
            show_default="one per core of the machine or cluster",
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(help="Run on this machine or on a Ray cluster (extra cluster)."),
    ] = EngineName.local,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of the Ray cluster.",
            show_default="$RAY_ADDRESS, else a temporary cluster on this machine",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Analyse only shard I of N, from 0. Files are sharded by name."
        ),
    ] = None,
    labels: options.LabelsOption = None,
    threshold: options.ThresholdOption = None,
    operating_point: options.OperatingPointOption = None,
    false_alarms: options.FalseAlarmsOption = None,
    verify: options.VerifyOption = options.Switch.on,
    model: options.ModelOption = None,
    platform: Annotated[
        Platform,
        typer.Option(
            help="Run the network with numpy, with onnxruntime (onnx), or with JAX on cpu, gpu or "
            "tpu. auto is onnx, or else cpu or numpy, whichever the model and the installation "
            "allow."
        ),
    ] = Platform.auto,
    channels: options.ChannelsOption = "auto",
    track: options.TrackOption = None,
) -> None:
    """Detect gunshots in many files, with several processes or on a Ray cluster.

    PATH is a file, a folder (all media files below it except hidden ones), a quoted glob, or a URL
    that fsspec reads: s3://, gs://, ftp:// or file:// (extra cluster; S3 and GCS also need s3fs or
    gcsfs). The output is one table with the events of all files, sorted by file name.

    Results are stored in a manifest. Run the same command again to continue an interrupted scan.
    A file is analysed again only if its content, the model or a setting that affects events has
    changed, or if it could not be read. A file whose worker process dies is tried three times.

    Ctrl-C and SIGTERM stop the scan and print the table of the files done.

    Examples:

    \b
      streamdet scan /archive --jobs 8 --sidecar srt --sidecar edl --output shots.csv
      streamdet scan 'archive/**/*.mkv' --labels shots.csv
      streamdet scan --list films.txt --sidecar fcpxml --sidecar-dir markers/ > shots.jsonl
      streamdet scan s3://bucket/films --engine ray --address 10.0.0.1:6379 --output shots.csv
    """
    from streamdet.pipeline.engine_choice import choose_platform
    from streamdet.scan.manifest import ManifestError
    from streamdet.scan.scan import Scan
    from streamdet.scan.worker import ScanSettings

    bundle = options.load_bundle(model)
    try:
        run_on = choose_platform(bundle, platform, math.inf)
    except PlatformError as error:
        raise CommandError(str(error)) from error
    second_stage = verify is options.Switch.on
    budget = options.budget_for(
        bundle, false_alarms, threshold, operating_point, verify=second_stage
    )
    settings = ScanSettings(
        options.decision_for(bundle, threshold, operating_point, verify=second_stage),
        options.parse_channel_option(channels),
        track,
        run_on.value,
        second_stage,
        None if budget is None else budget.config.budget,
    )
    truth = options.read_labels(labels)
    sidecars = scan_inputs.sidecar_writer(sidecar, sidecar_dir, fps)
    files, faults = scan_inputs.discover_files(paths or [], lists or [], shard)
    scan_inputs.check_sidecar_paths(sidecars, files)
    output_options = OutputOptions(output or [], output_format)
    names = [file.name for file in files]
    event_outputs.check_outputs(output_options, names)
    analyse_all = _choose_engine(engine, bundle, settings, jobs, address)
    try:
        with _open_manifest(manifest) as results:
            file_scan = Scan(files, results, settings, bundle, sidecars)
            code = _run_scan(file_scan, analyse_all, faults)
            with exit_on_closed_pipe(), event_outputs.open_outputs(output_options, names) as table:
                for event in file_scan.events():
                    table.write(event)
                table.close()
            if truth is not None:
                _print_score(file_scan, truth)
    except ManifestError as error:
        raise CommandError(f"--manifest {error}") from error
    if code:
        raise typer.Exit(code)


def _run_scan(file_scan: Scan, analyse_all: AnalyseAll, faults: list[str]) -> int:
    """Analyse the files, with progress and faults on stderr. Returns the exit code."""
    from streamdet.cli.progress import ScanProgress
    from streamdet.scan.worker import EngineError
    from streamdet.text import printable

    code = 0
    with ScanProgress(file_scan.files) as progress, _sigterm_as_interrupt():
        for fault in faults:
            progress.print_line(printable(f"streamdet: {fault}"))
            code = BAD_INPUT
        try:
            for scanned in file_scan.run(analyse_all):
                progress.add_file(scanned)
                if scanned.fault:
                    progress.print_line(printable(f"streamdet: {scanned.fault}"))
                no_sidecar = bool(scanned.fault) and not scanned.result.fault
                if scanned.result.state == "failed" or no_sidecar:
                    code = BAD_INPUT
                elif scanned.result.state == "damaged":
                    code = code or DAMAGED
        except KeyboardInterrupt:
            code = INTERRUPTED
        except (EngineError, PlatformError) as error:
            raise CommandError(str(error)) from error
    sys.stderr.write(f"streamdet: {progress.summary(interrupted=code == INTERRUPTED)}\n")
    return code


def _print_score(file_scan: Scan, truth: list[ShotLabel]) -> None:
    from streamdet.scoring.summary import EventScorer

    scorer = EventScorer(truth)
    for name, events in file_scan.events_by_file():
        scorer.add_file(name, [(e.onset_s, e.offset_s or e.onset_s) for e in events])
    for line in scorer.summary_lines():
        sys.stderr.write(f"streamdet: {line}\n")


def _choose_engine(
    engine: EngineName,
    bundle: Bundle,
    settings: ScanSettings,
    jobs: int | None,
    address: str | None,
) -> AnalyseAll:
    if engine is EngineName.ray:
        from streamdet.scan import ray_cluster

        return lambda files: ray_cluster.analyse_all(bundle, settings, files, jobs, address)
    if address is not None:
        raise CommandError("--address: needs --engine ray")
    from streamdet.pipeline.engine_choice import available_cores
    from streamdet.scan import processes

    count = jobs or available_cores()
    return lambda files: processes.analyse_all(bundle, settings, files, count)


@contextmanager
def _open_manifest(path: Path) -> Iterator[Manifest]:
    from streamdet.scan.manifest import Manifest

    manifest = Manifest(path)
    try:
        yield manifest
    finally:
        manifest.close()


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
