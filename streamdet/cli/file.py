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
from streamdet.cli.errors import CommandError, exit_on_closed_pipe
from streamdet.cli.event_outputs import EventOutputs, OutputFormat, OutputOptions
from streamdet.cli.file_report import FileReports
from streamdet.cli.file_run import FileTask, InputOptions, analyse_files
from streamdet.pipeline.platform import Platform

if TYPE_CHECKING:
    from streamdet.cli.event_recorder import EventRecorder
    from streamdet.detection.engine import StreamProvider
    from streamdet.model.bundle import Bundle
    from streamdet.pipeline.channels import ChannelMode
    from streamdet.scoring.labels import ShotLabel

_DEFAULT_BATCH = 16


class RawEncoding(StrEnum):
    """Sample formats of raw PCM, little-endian."""

    s16 = "s16"
    s24 = "s24"
    s32 = "s32"
    f32 = "f32"
    f64 = "f64"
    u8 = "u8"


def file(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Files to analyse. - is stdin.")
    ],
    threshold: options.ThresholdOption = None,
    operating_point: options.OperatingPointOption = None,
    false_alarms: options.FalseAlarmsOption = None,
    verify: options.VerifyOption = options.Switch.on,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format",
            help="Format of stdout, or of a single --output with any name.",
            show_default="table if stdout is a terminal, else jsonl",
        ),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write events to this file, in the format of its suffix. .html writes a report "
            "with the scores and a spectrogram of each event (extra plots). Can be repeated.",
            show_default="stdout",
        ),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Frame rate for edl, fcpxml and otio: 24, 25, 29.97df (drop-frame), 30000/1001.",
            show_default="that of the film",
        ),
    ] = None,
    start_timecode: Annotated[
        str | None,
        typer.Option(
            metavar="TIMECODE",
            help="Timecode of the first frame for edl, fcpxml and otio.",
            show_default="that of the film, else 00:00:00:00",
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the scores of each file to DIR/<stem>.npz: times_s (T), scores (T, L) and "
            "labels (L), one row per frame. With --channels each, one file per channel.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Start here, in seconds or as H:MM:SS. Events keep the time of the whole file.",
            show_default="start of the file",
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Stop here, in seconds or as H:MM:SS.",
            show_default="end of the file",
        ),
    ] = None,
    start_time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="UTC time of the first sample, ISO 8601. Gives the events absolute times.",
        ),
    ] = None,
    model: options.ModelOption = None,
    platform: options.PlatformOption = Platform.auto,
    channels: options.ChannelsOption = "auto",
    track: options.TrackOption = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of files analysed side by side in one step of JAX.",
            show_default="16 on gpu and tpu, else 1",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Add the scores around each event and its strongest other labels."
        ),
    ] = False,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="DB",
            help="Also store the events with spectrograms in this event store, for "
            "`streamdet review`. With --labels, sets their verdicts.",
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write each event, from 2 s before its onset to 3 s after its end, to "
            "DIR/<stem>_HH-MM-SS.mmm.flac, or with --store to DIR/<id>.flac.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Plot the scores of all files as .png or .svg (extra plots)."
        ),
    ] = None,
    excerpts: Annotated[
        bool,
        typer.Option("--excerpts", help="Embed the sound of each event in the .html report."),
    ] = False,
    labels: options.LabelsOption = None,
    raw_rate: Annotated[
        int, typer.Option(metavar="HZ", min=1, help="Sample rate of raw PCM on stdin, in Hz.")
    ] = 16_000,
    raw_channels: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of channels of raw PCM on stdin.")
    ] = 1,
    raw_encoding: Annotated[
        RawEncoding, typer.Option(help="Sample format of raw PCM on stdin, little-endian.")
    ] = RawEncoding.s16,
) -> None:
    """Detect gunshots in audio and video files, or in WAV or raw PCM on stdin.

    Reads WAV, FLAC, Ogg, Opus, MP3 and all other formats of libsndfile. The extra media
    (pip install 'streamdet[media]') adds the formats of FFmpeg, such as MP4, MKV, MOV and MXF,
    in constant memory. For many files use `streamdet scan`.

    Onsets are presentation times, counted from the earliest stream of the file (docs/films.md).

    A file that cannot be read is reported on stderr, and the others are still analysed. Of a
    damaged or truncated file the readable part is analysed.

    With --false-alarms each file is read twice: for the threshold of its own background, then
    for its events.

    Output formats and their suffixes:

    \b
      jsonl     .jsonl           JSON lines, one event per line (docs/events.md)
      csv       .csv             CSV
      table                      text for a terminal
      audacity  .txt             Audacity label track
      raven     .selections.txt  Raven selection table
      srt, vtt  .srt, .vtt       subtitles of at least one second
      edl       .edl             CMX 3600 edit list: markers in DaVinci Resolve, locators
                                 in Avid and Premiere
      fcpxml    .fcpxml          markers in Final Cut Pro
      otio      .otio            OpenTimelineIO (extra edit)
      textgrid  .TextGrid        Praat
                .html            report of any number of files (extra plots)

    audacity and all from srt to textgrid hold the events of one file. fcpxml, otio, textgrid and
    reports are written at the end, the others event by event. A marker lies on the frame that is
    shown at the onset.

    Examples:

    \b
      streamdet file movie.wav --operating-point sensitive --format csv
      streamdet file day.flac --false-alarms 1/day
      streamdet file movie.mov --output movie.edl --output movie.srt
      streamdet file movie.mov --output report.html --excerpts
      streamdet file *.flac --scores scores/ > events.jsonl
      streamdet file day.flac --labels shots.csv
      ffmpeg -v error -i movie.mkv -f wav - | streamdet file -
      arecord -t raw -f S16_LE -r 16000 | streamdet file - --raw-rate 16000
    """
    from streamdet.audio.pipe import RawFormat
    from streamdet.pipeline.engine_choice import scorer_for
    from streamdet.pipeline.files import FilePipeline

    if scores is not None:
        _create_scores_folder(scores, paths)
    truth = options.read_labels(labels)
    _check_inputs(paths)
    bundle = options.load_bundle(model)
    second_stage = verify is options.Switch.on
    budget = options.budget_for(
        bundle, false_alarms, threshold, operating_point, verify=second_stage
    )
    if budget is not None and "-" in paths:
        raise CommandError("--false-alarms: not available for stdin, which is read only once")
    decision = options.decision_for(bundle, threshold, operating_point, verify=second_stage)
    channel_mode = options.parse_channel_option(channels)
    inputs = InputOptions(
        options.parse_clock(start, "--start") or 0.0,
        options.parse_clock(end, "--end"),
        options.parse_when(start_time, "--start-time"),
        track,
        RawFormat(raw_rate, raw_channels, raw_encoding.value),
    )
    if batch is None:
        on_device = platform in (Platform.gpu, Platform.tpu)
        batch = min(len(paths), _DEFAULT_BATCH) if on_device else 1
    engine = _create_engine(bundle, platform, channel_mode, batch, paths, inputs)
    scorer = options.create_on_platform(lambda: scorer_for(bundle, engine, verify=second_stage))

    report_files, event_files = event_outputs.split_reports(output or [], paths)
    output_options = OutputOptions(
        event_files, output_format, explain, fps, start_timecode,
        use_stdout=not report_files, allow_reports=True,
    )  # fmt: skip
    reports = FileReports(
        report_files, plot, clips if store is None else None, excerpts, track,
        channel_mode == "each",
    )  # fmt: skip
    with (
        exit_on_closed_pipe(),
        event_outputs.open_outputs(output_options, paths) as outputs,
        _open_recorder(store, clips if store is not None else None, truth, track) as recorder,
    ):
        pipeline = FilePipeline(engine, decision, channel_mode, scorer, budget)
        task = FileTask(pipeline, inputs, outputs, recorder, reports, scores, explain)
        code = analyse_files(paths, task, batch)
        reports.finish()
        outputs.close()
        if not code:
            _report_no_events(outputs)
    if code:
        raise typer.Exit(code)


def _check_inputs(paths: list[str]) -> None:
    """Refuse to start without any input, so that outputs of an earlier run stay as they are."""
    if not any(path == "-" or Path(path).exists() for path in paths):
        raise CommandError(
            "\nstreamdet: ".join(f"{path}: No such file or directory" for path in paths)
        )


def _create_engine(
    bundle: Bundle,
    platform: Platform,
    channel_mode: ChannelMode,
    batch: int,
    paths: list[str],
    inputs: InputOptions,
) -> StreamProvider:
    from streamdet.pipeline import engine_choice
    from streamdet.pipeline.jax_setup import configure_jax

    if channel_mode == "each" and batch > 1:
        raise CommandError("--channels each: analyses one file at a time. Use --batch 1")
    if batch > 1:
        streams = batch * (2 if channel_mode == "auto" else 1)
        return options.create_on_platform(
            lambda: engine_choice.file_batch(bundle, platform, streams, configure_jax)
        )
    seconds = _total_duration_s(paths, inputs) if platform is Platform.auto else None
    return options.create_on_platform(
        lambda: engine_choice.file_engine(bundle, platform, seconds, configure_jax)
    )


def _total_duration_s(paths: list[str], inputs: InputOptions) -> float:
    """The audio to analyse, as far as the headers of the files state it."""
    from streamdet.audio.media import duration_s

    total = 0.0
    for path in paths:
        duration = (duration_s(Path(path)) or 0.0) if path != "-" else 0.0
        end_s = duration if inputs.end_s is None else min(duration, inputs.end_s)
        total += max(0.0, end_s - inputs.start_s)
    return total


@contextmanager
def _open_recorder(
    store: Path | None,
    clips: Path | None,
    truth: list[ShotLabel] | None,
    track: str | None,
) -> Iterator[EventRecorder]:
    """An EventRecorder whose messages and label summary go to stderr."""
    from streamdet.cli.event_recorder import EventRecorder
    from streamdet.store.clips import ClipError
    from streamdet.store.store import StoreError

    try:
        with EventRecorder(store, clips, truth, track) as recorder:
            if recorder.damaged_copy is not None:
                _print_message(f"{store}: was damaged. It was moved to {recorder.damaged_copy}")
            yield recorder
            if recorder.clip_fault:
                _print_message(recorder.clip_fault)
            for line in recorder.label_summary:
                _print_message(line)
    except (StoreError, ClipError) as error:
        raise CommandError(str(error)) from error


def _report_no_events(outputs: EventOutputs) -> None:
    """Tell a person that there are no gunshots. A program sees empty output."""
    if not outputs.event_count and (outputs.has_table or sys.stderr.isatty()):
        _print_message("no gunshots found")


def _print_message(text: str) -> None:
    sys.stderr.write(f"streamdet: {text}\n")


def _create_scores_folder(folder: Path, paths: list[str]) -> None:
    stems = [Path("stdin" if path == "-" else path).stem for path in paths]
    for stem in stems:
        if stems.count(stem) > 1:
            raise CommandError(
                f"--scores: two files would write {stem}.npz. Analyse them separately"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--scores {folder}: {error.strerror}") from error
