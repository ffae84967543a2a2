"""`streamdet tune`: a threshold for a budget of false alarms, from recordings of a place."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamdet.cli import file_report, options, scan_inputs
from streamdet.cli.errors import (
    BAD_INPUT,
    DAMAGED,
    EXIT_CODE_BY_REASON,
    CommandError,
    exit_on_closed_pipe,
)
from streamdet.pipeline.platform import Platform

if TYPE_CHECKING:
    from rich.progress import Progress

    from streamdet.cli.tune_output import TuneReport
    from streamdet.model.bundle import Bundle
    from streamdet.pipeline.files import FilePipeline
    from streamdet.pipeline.recorded_background import RecordedBackground
    from streamdet.scan.discovery import MediaFile
    from streamdet.scoring.labels import ShotLabel


def tune(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Recordings: files, folders, quoted globs or URLs."),
    ] = None,
    lists: options.ListOption = None,
    false_alarms: Annotated[
        str,
        typer.Option(
            metavar="BUDGET",
            help="False alarms to allow, such as 1/day, 2/h or 1/week.",
        ),
    ] = "1/day",
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="All shots in the recordings, in the formats of `streamdet file --labels`.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Plot the false alarms a day over the threshold as .png or .svg (extra plots).",
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the lines for the configuration to FILE."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let --write replace a file that exists.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object, also with the plotted curves.")
    ] = False,
    verify: options.VerifyOption = options.Switch.on,
    model: options.ModelOption = None,
    platform: options.PlatformOption = Platform.auto,
    channels: options.ChannelsOption = "auto",
    track: options.TrackOption = None,
) -> None:
    """Recommend a threshold for a budget of false alarms, from recordings of a place.

    The recordings should have no gunshots, or labels for all of them: at every threshold, all
    sounds outside labels are counted as false alarms. A distribution of the rare high scores
    extends the counts.

    For several budgets, the table has the threshold, the false alarms per day expected there, and
    those observed. Their 95 % intervals hold for times like those recorded, and allow for sounds
    in bursts. With --labels, recall is the share of labelled shots whose score, within 0.5 s,
    reaches the threshold.

    The last lines are for the configuration: the budget, and its threshold as a comment.

    Examples:

    \b
      streamdet tune recordings/
      streamdet tune night/*.flac --false-alarms 1/week --plot rates.png
      streamdet tune range.wav --labels shots.csv --write threshold.toml
    """
    from streamdet.cli import tune_output
    from streamdet.pipeline.recorded_background import RecordedBackground
    from streamdet.pipeline.tuning import tune as tune_background

    truth = options.read_labels(labels)
    _check_outputs(plot, write, force=force)
    files, faults = scan_inputs.discover_files(paths or [], lists or [], None)
    if not files:
        raise CommandError("\nstreamdet: ".join(faults))
    bundle = options.load_bundle(model)
    second_stage = verify is options.Switch.on
    setup = options.budget_for(bundle, false_alarms, verify=second_stage)
    assert setup is not None, "a budget has a setup"  # noqa: S101
    pipeline = _create_pipeline(bundle, platform, channels, files, verify=second_stage)
    reader = _FileReader(pipeline, track, truth or [], RecordedBackground(setup.config.background))
    reader.read(files, faults)
    if not reader.recorded.seconds:
        raise CommandError("no background to count. Give longer recordings, outside of the labels")
    tuning = tune_background(setup, reader.recorded)
    report = tune_output.TuneReport(
        tuning, false_alarms.strip(), reader.file_count, pipeline.model, labelled=truth is not None
    )
    if plot is not None:
        report.draw_plot(plot)
    if write is not None:
        _write(write, report.toml(), force=force)
    for line in _warnings(report, truth):
        sys.stderr.write(f"streamdet: {line}\n")
    with exit_on_closed_pipe():
        sys.stdout.write(json.dumps(report.record(), indent=2) + "\n" if as_json else report.text())
        sys.stdout.flush()
    if reader.code:
        raise typer.Exit(reader.code)


class _FileReader:
    """Adds files to ``recorded``. ``code`` is the exit code for those that have a fault."""

    def __init__(
        self,
        pipeline: FilePipeline,
        track: str | None,
        truth: list[ShotLabel],
        recorded: RecordedBackground,
    ) -> None:
        self._pipeline, self._track, self._truth = pipeline, track, truth
        self.recorded, self.file_count, self.code = recorded, 0, 0

    def read(self, files: list[MediaFile], faults: list[str]) -> None:
        """Add the files. Prints ``faults`` and those of files, with progress, to stderr."""
        from streamdet.audio.resample import ChannelError
        from streamdet.audio.source import SourceError
        from streamdet.cli.file_run import print_message, progress_bar

        with progress_bar() as bar:

            def report(fault: str, code: int = BAD_INPUT) -> None:
                print_message(bar, fault)
                self.code = code if self.code in (0, code) else BAD_INPUT

            for fault in faults:
                report(fault)
            for file in files:
                try:
                    if fault := self._read_file(file, bar):
                        report(fault, DAMAGED)
                except SourceError as error:
                    report(str(error), EXIT_CODE_BY_REASON[error.reason])
                except ChannelError as error:
                    report(f"{file.name}: {error}")
                except OSError as error:
                    report(f"{file.name}: {error.strerror or error}")

    def _read_file(self, file: MediaFile, bar: Progress) -> str:
        """Add a file, or its part before the damage. Returns one line about the damage, or ""."""
        from streamdet.audio.media import open_media
        from streamdet.audio.prefetch import PrefetchedSource
        from streamdet.audio.source import SourceError
        from streamdet.pipeline.recorded_background import FileScores
        from streamdet.scan.worker import local_path
        from streamdet.scoring.labels import labels_for_file
        from streamdet.scoring.matching import COLLAR_S

        scores, fault = FileScores(), ""
        with local_path(file.name) as path:
            media = open_media(path, track=self._track)
            task = bar.add_task(file.name, total=media.samples_to_read)
            try:
                with closing(PrefetchedSource(media)) as source:
                    for _ in self._pipeline.analyse(
                        source,
                        file.name,
                        on_scores=scores.add,
                        progress=lambda samples: bar.advance(task, samples),
                    ):
                        pass
            except SourceError as error:
                if error.reason != "truncated":
                    raise
                fault = str(error).replace(str(path), file.name)
            finally:
                bar.remove_task(task)
        shots = [label.span for label in labels_for_file(self._truth, file.name)]
        self.recorded.add_file(scores, [(a - COLLAR_S, b + COLLAR_S) for a, b in shots])
        self.file_count += 1
        return fault


def _create_pipeline(
    bundle: Bundle, platform: Platform, channels: str, files: list[MediaFile], *, verify: bool
) -> FilePipeline:
    from streamdet.audio.media import duration_s
    from streamdet.pipeline import engine_choice
    from streamdet.pipeline.files import FilePipeline
    from streamdet.pipeline.jax_setup import configure_jax

    mode = options.parse_channel_option(channels)
    if mode == "each":
        raise CommandError("--channels each: tune one channel at a time, with its number")
    seconds = None
    if platform is Platform.auto:
        seconds = sum(duration_s(Path(f.name)) or 0.0 for f in files if "://" not in f.name)
    engine = options.create_on_platform(
        lambda: engine_choice.file_engine(bundle, platform, seconds, configure_jax)
    )
    scorer = options.create_on_platform(
        lambda: engine_choice.scorer_for(bundle, engine, verify=verify)
    )
    decision = options.decision_for(bundle, None, None, verify=verify)
    return FilePipeline(engine, decision, mode, scorer)


def _check_outputs(plot: Path | None, write: Path | None, *, force: bool) -> None:
    """Raise CommandError for a file that cannot be written, before the recordings are read."""
    if plot is not None:
        file_report.check_plot_format(plot)
        file_report.require_plots()
        file_report.check_writable("--plot", plot)
    if write is not None:
        if write.exists() and not force:
            raise CommandError(f"--write {write}: exists. Use --force to replace it")
        if not write.parent.is_dir():
            raise CommandError(f"--write {write}: no such folder")
        if not os.access(write if write.exists() else write.parent, os.W_OK):
            raise CommandError(f"--write {write}: not allowed to write there")


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"--write {path}: {error.strerror}") from error


def _warnings(report: TuneReport, truth: list[ShotLabel] | None) -> list[str]:
    from streamdet.detection.false_alarm_rate import DAY_S

    lines = []
    if truth and not len(report.tuning.shot_scores):
        lines.append(f"no label is of an analysed file. The first one is of {truth[0].file}")
    cost = report.cost
    if cost.per_day.value > 1.01 * cost.budget * DAY_S:
        lines.append(
            f"{report.budget}: more false alarms are expected even at the highest threshold"
        )
    return lines
