"""`streamdet file`: gunshots in files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamdet.cli import event_outputs, options
from streamdet.cli.errors import CommandError, quiet_pipe
from streamdet.cli.event_outputs import OutputFormat
from streamdet.cli.file_report import FileReports
from streamdet.cli.file_run import FileTask, analyse_files
from streamdet.pipeline.platform import Platform

if TYPE_CHECKING:
    from streamdet.cli.event_recorder import EventRecorder
    from streamdet.scoring.labels import ShotLabel


class RawEncoding(StrEnum):
    """Raw PCM, little-endian."""

    s16 = "s16"
    s24 = "s24"
    s32 = "s32"
    f32 = "f32"
    f64 = "f64"
    u8 = "u8"


def file(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files; - is stdin.")],
    threshold: options.Threshold = None,
    operating_point: options.Point = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="jsonl, but table where stdout is a terminal."),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(help="Write events here, in the form of its name; may be given again."),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(help="Of an edit: 24, 25, 29.97df, 30000/1001; the film's if not given."),
    ] = None,
    start_timecode: Annotated[
        str | None, typer.Option(help="Of the first frame: 01:00:00:00; the film's if not given.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Folder for each file's scores, <stem>.npz.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Hear from here: seconds or H:MM:SS.")] = None,
    end: Annotated[str | None, typer.Option(help="Hear up to here.")] = None,
    start_time: Annotated[
        str | None, typer.Option(help="UTC time of a file's first sample, ISO 8601.")
    ] = None,
    model: options.Model = None,
    platform: options.PlatformOption = Platform.auto,
    channels: options.ChannelsOption = "auto",
    track: Annotated[
        str | None,
        typer.Option(help="Hear this sound track: its number from 1, or a language (eng)."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Files side by side in one step; 16 on gpu and tpu, else 1."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add the scores and the top other labels.")
    ] = False,
    store: Annotated[
        Path | None, typer.Option(help="Keep events in this event store too, to be reviewed.")
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Keep the sound of each event in this folder.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the score over each file: NAME.png or NAME.svg.")
    ] = None,
    excerpts: Annotated[
        bool, typer.Option("--excerpts", help="Put each event's sound into --output NAME.html.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="True shots (CSV, Audacity, Raven, names of 10 s): count false positives by them."
        ),
    ] = None,
    raw_rate: Annotated[int, typer.Option(min=1, help="Hz of raw PCM on stdin.")] = 16_000,
    raw_channels: Annotated[int, typer.Option(min=1, help="Channels of raw PCM.")] = 1,
    raw_encoding: Annotated[RawEncoding, typer.Option(help="Raw PCM's samples.")] = RawEncoding.s16,
) -> None:
    """Find the gunshots in files, films too (extra media), or in WAV or raw PCM on stdin.

    Exit code 0 also where there are none; 2 where a file could not be heard, 3 where one is
    damaged or truncated, with a line on stderr; the others still are.

    Example: streamdet file movie.wav --operating-point sensitive --format csv
    """
    from streamdet.pipeline import engine_choice
    from streamdet.pipeline.files import FilePipeline
    from streamdet.pipeline.jax_setup import configure_jax

    _check_stems(paths, scores)
    truth = None if labels is None else options.read_labels(labels)
    bundle = options.load_bundle(model)
    decision = options.decision_for(bundle, threshold, operating_point)
    begin = options.parse_clock(start, "--start") or 0.0
    until = options.parse_clock(end, "--end")
    began_at = options.parse_when(start_time, "--start-time")
    seconds = _seconds(paths, begin, until) if platform is Platform.auto else None
    if batch is None:
        batch = min(len(paths), 16) if platform in (Platform.gpu, Platform.tpu) else 1
    heard = options.parse_channel_option(channels)
    if heard == "each" and batch > 1:
        raise CommandError("--channels each: hears one file at a time; give --batch 1")
    lanes = 2 if heard == "auto" else 1
    engine = options.create_engine(
        lambda: (
            engine_choice.file_batch(bundle, platform, batch * lanes, configure_jax)
            if batch > 1
            else engine_choice.file_engine(bundle, platform, seconds, configure_jax)
        )
    )
    reports, others = event_outputs.split_reports(output or [], paths)
    silent = bool(reports) and not others
    wanted = event_outputs.OutputOptions(
        others, output_format, explain, fps, start_timecode, silent
    )
    showing = FileReports(
        reports, plot, clips if store is None else None, excerpts, decision.threshold, track,
        heard == "each",
    )  # fmt: skip
    with (
        quiet_pipe(),
        event_outputs.open_outputs(wanted, paths) as sink,
        _kept(store, clips if store is not None else None, truth, track) as kept,
    ):
        raw = (raw_rate, raw_channels, raw_encoding.value)
        listener = FilePipeline(engine, decision, heard)
        task = FileTask(
            listener, sink, explain, scores, begin, until, began_at, raw, kept, track, showing
        )
        code = analyse_files(paths, task, batch)
        showing.finish()
        if not code or output:  # on a terminal it would say that there is no gunshot
            sink.close()
    if code:
        raise typer.Exit(code)


def _seconds(paths: list[str], start_s: float, end_s: float | None) -> float:
    """How much sound there is to hear, as far as the files' headers tell."""
    from streamdet.audio.media import duration_s

    known = (duration_s(Path(path)) or 0.0 for path in paths if path != "-")
    return sum(max(0.0, min(s, s if end_s is None else end_s) - start_s) for s in known)


@contextmanager
def _kept(
    store: Path | None,
    clips: Path | None,
    truth: list[ShotLabel] | None,
    track: str | None,
) -> Iterator[EventRecorder]:
    """What the events go to beside the output; at the end it says how true they were."""
    from streamdet.cli.event_recorder import EventRecorder
    from streamdet.store.clips import ClipError
    from streamdet.store.store import StoreError

    try:
        with EventRecorder(store, clips, truth, track) as kept:
            if kept.damaged_copy is not None:
                _tell(f"{store}: was damaged; it is kept as {kept.damaged_copy}")
            yield kept
            if kept.clip_fault:
                _tell(kept.clip_fault)
            for line in kept.label_summary:
                _tell(line)
    except (StoreError, ClipError) as error:
        raise CommandError(str(error)) from error


def _tell(words: str) -> None:
    sys.stderr.write(f"streamdet: {words}\n")


def _check_stems(paths: list[str], scores: Path | None) -> None:
    stems = [Path("stdin" if p == "-" else p).stem for p in paths]
    twice = sorted({s for s in stems if stems.count(s) > 1})
    if scores is not None and twice:
        raise CommandError(f"--scores: two files would both write {twice[0]}.npz; scan them apart")
    if scores is not None:
        try:
            scores.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"--scores {scores}: {error.strerror}") from error
