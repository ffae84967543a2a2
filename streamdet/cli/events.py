"""`streamdet events`: what the event store holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from streamdet.cli import options
from streamdet.cli.errors import CommandError, quiet_pipe

if TYPE_CHECKING:
    from streamdet.store.reader import EventFilter, StoreReader


class ListFormat(StrEnum):
    """How events are written."""

    jsonl = "jsonl"
    csv = "csv"
    table = "table"


class VerdictFilter(StrEnum):
    """What was said of an event."""

    true = "true"
    false = "false"
    unsure = "unsure"
    none = "none"
    any = "any"


app = typer.Typer(no_args_is_help=True, help="Look at what the event store holds.")

LeastScore = Annotated[
    float | None, typer.Option("--min-score", min=0.0, max=1.0, help="Of this score or above.")
]
MostScore = Annotated[
    float | None, typer.Option("--max-score", min=0.0, max=1.0, help="Of this score or below.")
]
SaidOption = Annotated[
    VerdictFilter | None,
    typer.Option("--verdict", help="true, false or unsure; none: not reviewed; any: reviewed."),
]
Form = Annotated[
    ListFormat | None, typer.Option("--format", help="jsonl, but table where stdout is a terminal.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="So many at most, the newest.")]


@app.command("list")
def list_(
    store: options.StorePath,
    since: options.Since = None,
    until: options.Until = None,
    source: options.SourceName = None,
    min_score: LeastScore = None,
    max_score: MostScore = None,
    verdict: SaidOption = None,
    limit: Limit = None,
    output_format: Form = None,
) -> None:
    """Print events and what was said of them, oldest first.

    Example: streamdet events list --store events.db --since 24h --verdict none
    """
    wanted = _wanted(since, until, source, min_score, max_score, verdict)
    with _reader(store) as reader, quiet_pipe():
        kind = output_format or (ListFormat.table if sys.stdout.isatty() else ListFormat.jsonl)
        _write(reader, wanted, limit, kind.value)


@app.command()
def show(
    event: Annotated[str, typer.Argument(help="An event's id.")], store: options.StorePath
) -> None:
    """Print all that is known of one event as JSON: its score curve and every verdict too.

    Example: streamdet events show 01a21193-ef88-7d5f-b89f-8c39a14af722 --store events.db
    """
    import json

    from streamdet.detection.event import format_utc

    with _reader(store) as reader:
        stored = reader.event(event)
        record = stored.record()
        record["curve"] = [list(point) for point in stored.curve]
        record["reviews"] = [
            {**given, "given": format_utc(given.pop("given_s"))} for given in reader.history(event)
        ]
        typer.echo(json.dumps(record, indent=2))


@app.command()
def export(
    store: options.StorePath,
    dataset: Annotated[
        Path | None,
        typer.Option(help="A new data folder of the reviewed clips, for `python -m train adapt`."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write events here: .jsonl or .csv, by its name.")
    ] = None,
    clips: options.ClipsPath = None,
    held_out: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the recordings kept to measure on.")
    ] = 0.3,
    since: options.Since = None,
    until: options.Until = None,
    source: options.SourceName = None,
    min_score: LeastScore = None,
    max_score: MostScore = None,
    verdict: SaidOption = None,
) -> None:
    """Write events to a file, or the reviewed ones with their clips as a data folder.

    Example: streamdet events export --store events.db --dataset my-clips
    """
    if (dataset is None) == (output is None):
        raise CommandError("give one of --dataset and --output")
    wanted = _wanted(since, until, source, min_score, max_score, verdict)
    with _reader(store) as reader:
        if dataset is not None:
            _dataset(reader, wanted, options.clips_folder(store, clips), dataset, held_out)
        elif output is not None:
            if output.suffix not in (".jsonl", ".csv"):
                raise CommandError(f"--output {output}: its name must end in .jsonl or .csv")
            try:
                with output.open("w", encoding="utf-8", newline="") as stream:
                    _write(reader, wanted, None, output.suffix[1:], stream)
            except OSError as error:
                raise CommandError(f"--output {output}: {error.strerror}") from error


@app.command()
def prune(
    store: options.StorePath,
    older_than: Annotated[
        str | None, typer.Option(help="Forget events before this time: 90d, or ISO 8601.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="Keep so many, the newest.")] = None,
    clips: options.ClipsPath = None,
    clips_only: Annotated[
        bool, typer.Option("--clips-only", help="Delete their clips, and keep the events.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
) -> None:
    """Forget old events with their clips, or delete the clips alone; what was counted stays.

    Example: streamdet events prune --store events.db --older-than 90d
    """
    import time

    from streamdet.store.clips import ClipError, ClipFolder
    from streamdet.store.store import EventStore, StoreError

    before = options.parse_when(older_than, "--older-than")
    if before is None and keep is None:
        raise CommandError("give --older-than or --keep")
    days = None if before is None else (time.time() - before) / 86_400.0
    if not store.is_file():
        raise CommandError(f"{store}: there is no such event store")
    folder_path = options.clips_folder(store, clips)
    try:
        folder = ClipFolder(folder_path) if folder_path.is_dir() else None
        kept = EventStore(store, aside=False)
        try:
            chosen = kept.prunable(days, keep)
            if not dry_run and clips_only:
                for event in chosen:
                    kept.drop_clip(event)
            elif not dry_run:
                kept.prune(days, keep)
            if folder is not None and not dry_run:
                for event in chosen:
                    folder.remove(event)
        finally:
            kept.close()
    except (StoreError, ClipError) as error:
        raise CommandError(str(error)) from error
    done = "would go" if dry_run else "are gone"
    typer.echo(f"{'the clips of ' if clips_only else ''}{len(chosen)} events {done}")


def _wanted(
    since: str | None,
    until: str | None,
    source: str | None,
    min_score: float | None,
    max_score: float | None,
    verdict: VerdictFilter | None,
) -> EventFilter:
    from streamdet.store.reader import EventFilter

    return EventFilter(
        options.parse_when(since, "--since"),
        options.parse_when(until, "--until"),
        source,
        min_score,
        max_score,
        None if verdict is None else verdict.value,
    )


@contextmanager
def _reader(path: Path) -> Iterator[StoreReader]:
    from streamdet.store.reader import StoreReader
    from streamdet.store.store import StoreError

    try:
        reader = StoreReader(path)
        try:
            yield reader
        finally:
            reader.close()
    except StoreError as error:
        raise CommandError(str(error)) from error


def _write(
    reader: StoreReader,
    wanted: EventFilter,
    limit: int | None,
    kind: str,
    stream: TextIO | None = None,
) -> None:
    from streamdet.cli.stored_events import open_stored_writer

    sink = open_stored_writer(kind, sys.stdout if stream is None else stream)
    for stored in reader.newest(wanted, limit) if limit else reader.events(wanted):
        sink.write(stored)
    sink.close()


def _dataset(
    reader: StoreReader, wanted: EventFilter, clips: Path, to: Path, held_out: float
) -> None:
    from streamdet.store.clips import ClipError, ClipFolder
    from streamdet.store.dataset import DatasetError, export_dataset

    if not clips.is_dir():
        raise CommandError(f"{clips}: no folder of clips; give --clips")
    try:
        tally = export_dataset(reader.events(wanted), ClipFolder(clips), to, held_out)
    except (ClipError, DatasetError) as error:
        raise CommandError(str(error)) from error
    left = f"; left out: {tally.without_clip} without a clip, {tally.unsure} unsure"
    typer.echo(f"{to}: {tally.true} true, {tally.false} false{left}")
