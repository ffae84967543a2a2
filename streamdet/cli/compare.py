"""`streamdet compare`: the differences between two runs."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamdet.cli import options
from streamdet.cli.errors import CommandError, exit_on_closed_pipe

if TYPE_CHECKING:
    from streamdet.scoring.comparison import EventPair, RunEvent
    from streamdet.scoring.labels import ShotLabel


class CompareFormat(StrEnum):
    """The formats of differences."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="FIRST", help="Events of one run, JSON lines or CSV.")
    ],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Events of the other run.")],
    collar: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0.0,
            help="Largest gap in seconds between two events that count as the same.",
        ),
    ] = 0.5,
    labels: options.LabelsOption = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also list the events that are in both runs.")
    ] = False,
    output_format: Annotated[
        CompareFormat | None,
        typer.Option(
            "--format",
            help="Format of stdout.",
            show_default="table if stdout is a terminal, else jsonl",
        ),
    ] = None,
) -> None:
    """List the events that differ between two runs over the same files.

    The runs are outputs of `file` or `scan`. Two events are the same if they overlap or are at most
    --collar apart. Files are matched by path, or by name if the runs have no path in common.

    Each line has source, heard_by (the run with the event: first, second or both), onset_s,
    offset_s, first_score, second_score and, with --labels, true. The totals go to stderr.

    Examples:

    \b
      streamdet scan films/ --model tiny --manifest tiny.db > tiny.jsonl
      streamdet scan films/ --manifest second.db > second.jsonl
      streamdet compare tiny.jsonl second.jsonl --labels shots.csv --format table
    """
    from streamdet.scoring import comparison

    truth = options.read_labels(labels)
    try:
        runs = comparison.read_run(first), comparison.read_run(second)
    except comparison.RunError as error:
        raise CommandError(str(error)) from error
    pairs = comparison.pair_events(*runs, collar)
    listed = pairs if every else [pair for pair in pairs if pair.found_in != "both"]
    if output_format is None:
        output_format = CompareFormat.table if sys.stdout.isatty() else CompareFormat.jsonl
    with exit_on_closed_pipe():
        _write_records([_pair_record(pair, truth, collar) for pair in listed], output_format)
    for path, run, name in ((first, runs[0], "first"), (second, runs[1], "second")):
        summary = f"{name}: {path}: {_describe_run(run)}{_score_run(run, truth)}"
        sys.stderr.write(f"streamdet: {summary}\n")
    counts = Counter(pair.found_in for pair in pairs)
    sys.stderr.write(
        f"streamdet: {counts['both']} events in both runs, {counts['first']} only in the first, "
        f"{counts['second']} only in the second\n"
    )


def _pair_record(pair: EventPair, truth: list[ShotLabel] | None, collar_s: float) -> dict[str, Any]:
    from streamdet.scoring.labels import labels_for_file
    from streamdet.scoring.matching import match_events

    event = pair.event
    record: dict[str, Any] = {
        "source": event.source,
        "heard_by": pair.found_in,
        "onset_s": event.onset_s,
        "offset_s": event.offset_s,
        "first_score": None if pair.first is None else pair.first.score,
        "second_score": None if pair.second is None else pair.second.score,
    }
    if truth is not None:
        shots = labels_for_file(truth, event.source)
        record["true"] = match_events([event.span], shots, collar_s).true[0]
    return record


def _write_records(records: list[dict[str, Any]], output_format: CompareFormat) -> None:
    if output_format is CompareFormat.jsonl:
        for record in records:
            sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
    elif output_format is CompareFormat.csv:
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(records[0] if records else ("source", "heard_by"))
        rows.writerows(["" if v is None else v for v in record.values()] for record in records)
    else:
        _write_table(records)


def _write_table(records: list[dict[str, Any]]) -> None:
    from streamdet.formats.table import format_clock
    from streamdet.text import printable

    if not records:
        sys.stdout.write("no difference\n")
        return
    sys.stdout.write(
        f"{'onset':>12}  {'found in':>8}  {'first':>5}  {'second':>6}         source\n"
    )
    for record in records:
        first, second = (
            "-" if record[key] is None else f"{record[key]:.2f}"
            for key in ("first_score", "second_score")
        )
        is_true = {True: "true ", False: "false", None: "     "}[record.get("true")]
        sys.stdout.write(
            f"{format_clock(record['onset_s']):>12}  {record['heard_by']:>8}  {first:>5}"
            f"  {second:>6}  {is_true}  {printable(record['source'])}\n"
        )


def _describe_run(run: list[RunEvent]) -> str:
    """The number of events, the models and the thresholds."""
    if not run:
        return "0 events"
    models = ", ".join(sorted({event.model for event in run}))
    thresholds = sorted({event.threshold for event in run})
    plural = "s" if len(thresholds) > 1 else ""
    listed = ", ".join(f"{threshold:.4g}" for threshold in thresholds)
    return f"{len(run)} events of {models}, threshold{plural} {listed}"


def _score_run(run: list[RunEvent], truth: list[ShotLabel] | None) -> str:
    from streamdet.scoring.labels import labels_for_file
    from streamdet.scoring.summary import EventScorer

    if truth is None:
        return ""
    scorer = EventScorer(truth)
    sources = {event.source for event in run}
    named = {label for source in sources for label in labels_for_file(truth, source)}
    sources |= {label.file for label in truth if label.file and label not in named}
    for source in sorted(sources):
        spans = [(event.onset_s, event.offset_s) for event in run if event.source == source]
        scorer.add_file(source, spans)
    return "; " + scorer.summary_lines()[0]
