"""`streamdet compare`: where two runs differ."""

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
from streamdet.cli.errors import CommandError, quiet_pipe

if TYPE_CHECKING:
    from streamdet.scoring.comparison import EventPair, RunEvent
    from streamdet.scoring.labels import ShotLabel


class CompareFormat(StrEnum):
    """How differences are written."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"


def compare(
    first: Annotated[Path, typer.Argument(help="Events of one run: JSON lines or CSV.")],
    second: Annotated[Path, typer.Argument(help="Events of the other.")],
    collar: Annotated[
        float, typer.Option(min=0.0, help="Seconds that two events of one shot may lie apart.")
    ] = 0.5,
    labels: Annotated[
        Path | None, typer.Option(help="True shots, as of `file`: say who of both is right.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List what both heard, too.")] = False,
    output_format: Annotated[
        CompareFormat | None,
        typer.Option("--format", help="jsonl, but table where stdout is a terminal."),
    ] = None,
) -> None:
    """Show where two runs over the same files differ: two models, or two thresholds.

    Example: streamdet compare tiny.jsonl second.jsonl --labels shots.csv
    """
    from streamdet.scoring import comparison

    truth = None if labels is None else options.read_labels(labels)
    try:
        runs = comparison.read_run(first), comparison.read_run(second)
    except comparison.RunError as error:
        raise CommandError(str(error)) from error
    found = comparison.pair_events(*runs, collar)
    listed = found if every else [pair for pair in found if pair.found_in != "both"]
    form = output_format or (CompareFormat.table if sys.stdout.isatty() else CompareFormat.jsonl)
    with quiet_pipe():
        _write([_record(pair, truth, collar) for pair in listed], form)
    for path, run, where in ((first, runs[0], "first"), (second, runs[1], "second")):
        sys.stderr.write(f"streamdet: {where}: {path}: {_about(run)}{_right(run, truth)}\n")
    heard = Counter(pair.found_in for pair in found)
    sys.stderr.write(
        f"streamdet: {heard['both']} events in both, {heard['first']} in the first alone, "
        f"{heard['second']} in the second alone\n"
    )


def _record(pair: EventPair, truth: list[ShotLabel] | None, collar_s: float) -> dict[str, Any]:
    from streamdet.scoring.labels import labels_for_file
    from streamdet.scoring.matching import match_events

    told = pair.event
    record: dict[str, Any] = {
        "source": told.source,
        "heard_by": pair.found_in,
        "onset_s": told.onset_s,
        "offset_s": told.offset_s,
        "first_score": None if pair.first is None else pair.first.score,
        "second_score": None if pair.second is None else pair.second.score,
    }
    if truth is not None:
        its = labels_for_file(truth, told.source)
        record["true"] = match_events([told.span], its, collar_s).true[0]
    return record


def _write(records: list[dict[str, Any]], form: CompareFormat) -> None:
    if form is CompareFormat.jsonl:
        for record in records:
            sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
    elif form is CompareFormat.csv:
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(records[0] if records else ("source", "heard_by"))
        rows.writerows(["" if v is None else v for v in record.values()] for record in records)
    else:
        _table(records)


def _table(records: list[dict[str, Any]]) -> None:
    from streamdet.formats.table import format_clock
    from streamdet.text import printable

    if not records:
        sys.stdout.write("no difference\n")
        return
    sys.stdout.write(
        f"{'onset':>12}  {'heard by':>8}  {'first':>5}  {'second':>6}         source\n"
    )
    for of in records:
        scores = [
            f"{of[k]:.2f}" if of[k] is not None else "-" for k in ("first_score", "second_score")
        ]
        right = {True: "true ", False: "false", None: "     "}[of.get("true")]
        sys.stdout.write(
            f"{format_clock(of['onset_s']):>12}  {of['heard_by']:>8}  {scores[0]:>5}  {scores[1]:>6}"
            f"  {right}  {printable(of['source'])}\n"
        )


def _about(run: list[RunEvent]) -> str:
    """Who spoke, and over which threshold."""
    if not run:
        return "0 events"
    models = ", ".join(sorted({told.model for told in run}))
    thresholds = ", ".join(f"{t:.4g}" for t in sorted({told.threshold for told in run}))
    return f"{len(run)} events of {models} over {thresholds}"


def _right(run: list[RunEvent], truth: list[ShotLabel] | None) -> str:
    from streamdet.scoring.summary import EventScorer

    if truth is None:
        return ""
    scoring = EventScorer(truth)
    sources = {told.source for told in run} | {label.file for label in truth if label.file}
    for source in sorted(sources):
        scoring.add_file(source, [(t.onset_s, t.offset_s) for t in run if t.source == source])
    return "; " + scoring.summary_lines()[0]
