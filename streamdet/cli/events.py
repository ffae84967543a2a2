"""`streamdet events`: list, show, export and delete the events of a store."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from streamdet.cli import options
from streamdet.cli.errors import CommandError, exit_on_closed_pipe

if TYPE_CHECKING:
    from streamdet.store.reader import EventFilter, StoreReader


class ListFormat(StrEnum):
    """The formats of stored events."""

    jsonl = "jsonl"
    csv = "csv"
    table = "table"


class VerdictFilter(StrEnum):
    """A verdict; ``none`` selects events without one, ``any`` those with one."""

    true = "true"
    false = "false"
    unsure = "unsure"
    none = "none"
    any = "any"


app = typer.Typer(
    no_args_is_help=True, help="List, show, export and delete the events of an event store."
)

MinScoreOption = Annotated[
    float | None,
    typer.Option(
        "--min-score", metavar="P", min=0.0, max=1.0, help="Only events of at least this score."
    ),
]
MaxScoreOption = Annotated[
    float | None,
    typer.Option(
        "--max-score", metavar="P", min=0.0, max=1.0, help="Only events of at most this score."
    ),
]
VerdictOption = Annotated[
    VerdictFilter | None,
    typer.Option(
        "--verdict",
        help="Only events with this verdict. none: not reviewed. any: reviewed.",
    ),
]
FormatOption = Annotated[
    ListFormat | None,
    typer.Option(
        "--format", help="Format of stdout.",
        show_default="table if stdout is a terminal, else jsonl",
    ),
]  # fmt: skip
LimitOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Only the newest N events.")
]


@app.command("list")
def list_(
    store: options.StoreOption,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    source: options.SourceOption = None,
    min_score: MinScoreOption = None,
    max_score: MaxScoreOption = None,
    verdict: VerdictOption = None,
    limit: LimitOption = None,
    output_format: FormatOption = None,
) -> None:
    """List stored events with their verdicts, oldest first.

    A running `streamdet listen` may use the store at the same time.

    Examples:

    \b
      streamdet events list --store events.db --since 24h --verdict none
      streamdet events list --store events.db --source gate --format csv > gate.csv
    """
    event_filter = _event_filter(since, until, source, min_score, max_score, verdict)
    with _open_reader(store) as reader, exit_on_closed_pipe():
        if output_format is None:
            output_format = ListFormat.table if sys.stdout.isatty() else ListFormat.jsonl
        _write_events(reader, event_filter, limit, output_format.value, sys.stdout)


@app.command()
def show(
    event: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],
    store: options.StoreOption,
) -> None:
    """Print one event as JSON, with its score curve and all its verdicts.

    The curve is a list of [seconds from the onset, probability].

    Examples:

    \b
      streamdet events show 01a21193-ef88-7d5f-b89f-8c39a14af722 --store events.db
    """
    import json

    from streamdet.detection.event import format_utc

    with _open_reader(store) as reader:
        stored = reader.event(event)
        record = stored.record()
        record["curve"] = [list(point) for point in stored.curve]
        record["reviews"] = [
            {**review, "given": format_utc(review.pop("given_s"))}
            for review in reader.history(event)
        ]
        typer.echo(json.dumps(record, indent=2))


@app.command()
def export(
    store: options.StoreOption,
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the reviewed events that have clips to this new data folder for "
            "`python -m train adapt`: true ones as gunshots, false ones as hard negatives labelled "
            "by their cause. Unsure ones are left out.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the events to this .jsonl or .csv file."),
    ] = None,
    clips: options.ClipsOption = None,
    held_out: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0.0,
            max=0.9,
            help="Share of the data folder for validation. Events of one source within ten minutes "
            "stay together.",
        ),
    ] = 0.3,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    source: options.SourceOption = None,
    min_score: MinScoreOption = None,
    max_score: MaxScoreOption = None,
    verdict: VerdictOption = None,
) -> None:
    """Export stored events to a file, or reviewed clips to a data folder for training.

    Give either --output or --dataset.

    Examples:

    \b
      streamdet events export --store events.db --output events.csv --since 7d
      streamdet events export --store events.db --dataset my-clips
    """
    if (dataset is None) == (output is None):
        raise CommandError("give either --dataset or --output")
    event_filter = _event_filter(since, until, source, min_score, max_score, verdict)
    with _open_reader(store) as reader:
        if dataset is not None:
            folder = options.clips_folder(store, clips)
            _export_dataset(reader, event_filter, folder, dataset, held_out)
        elif output is not None:
            if output.suffix not in (".jsonl", ".csv"):
                raise CommandError(f"--output {output}: unknown format. Use .jsonl or .csv")
            try:
                with output.open("w", encoding="utf-8", newline="") as stream:
                    _write_events(reader, event_filter, None, output.suffix[1:], stream)
            except OSError as error:
                raise CommandError(f"--output {output}: {error.strerror}") from error


@app.command()
def prune(
    store: options.StoreOption,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Delete events before this time: an age such as 90d, or ISO 8601."
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Keep only the newest N events.")
    ] = None,
    clips: options.ClipsOption = None,
    clips_only: Annotated[
        bool, typer.Option("--clips-only", help="Delete only the clips and keep the events.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the number of events and delete nothing.")
    ] = False,
) -> None:
    """Delete old events with their verdicts, spectrograms and clips.

    Prometheus counters keep counting the deleted events.

    Examples:

    \b
      streamdet events prune --store events.db --older-than 90d
      streamdet events prune --store events.db --keep 10000 --clips-only --dry-run
    """
    import time

    from streamdet.store.clips import ClipError, ClipFolder
    from streamdet.store.store import EventStore, StoreError

    before_s = options.parse_when(older_than, "--older-than")
    if before_s is None and keep is None:
        raise CommandError("give --older-than or --keep")
    days = None if before_s is None else (time.time() - before_s) / 86_400.0
    if not store.is_file():
        raise CommandError(f"{store}: there is no such event store")
    folder_path = options.clips_folder(store, clips)
    try:
        folder = ClipFolder(folder_path) if folder_path.is_dir() else None
        event_store = EventStore(store, aside=False)
        try:
            event_ids = event_store.prunable(days, keep)
            if not dry_run and clips_only:
                for event_id in event_ids:
                    event_store.drop_clip(event_id)
            elif not dry_run:
                event_store.prune(days, keep)
            if folder is not None and not dry_run:
                for event_id in event_ids:
                    folder.remove(event_id)
        finally:
            event_store.close()
    except (StoreError, ClipError) as error:
        raise CommandError(str(error)) from error
    action = "would be deleted" if dry_run else "deleted"
    typer.echo(f"{'clips of ' if clips_only else ''}{len(event_ids)} events {action}")


def _event_filter(
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
def _open_reader(path: Path) -> Iterator[StoreReader]:
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


def _write_events(
    reader: StoreReader,
    event_filter: EventFilter,
    limit: int | None,
    output_format: str,
    stream: TextIO,
) -> None:
    from streamdet.cli.stored_events import open_stored_writer

    writer = open_stored_writer(output_format, stream)
    events = reader.newest(event_filter, limit) if limit else reader.events(event_filter)
    for stored in events:
        writer.write(stored)
    writer.close()


def _export_dataset(
    reader: StoreReader, event_filter: EventFilter, clips: Path, dataset: Path, held_out: float
) -> None:
    from streamdet.store.clips import ClipError, ClipFolder
    from streamdet.store.dataset import DatasetError, export_dataset

    if not clips.is_dir():
        raise CommandError(f"{clips}: no such folder of clips. Give --clips")
    try:
        counts = export_dataset(reader.events(event_filter), ClipFolder(clips), dataset, held_out)
    except (ClipError, DatasetError) as error:
        raise CommandError(str(error)) from error
    skipped = f"skipped {counts.without_clip} without a clip, {counts.unsure} unsure"
    typer.echo(f"{dataset}: {counts.true} true, {counts.false} false; {skipped}")
