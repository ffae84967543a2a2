"""`streamdet review`: give stored events a verdict."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streamdet.cli import options
from streamdet.cli.errors import CommandError
from streamdet.store.verdict import CAUSES, MAX_NOTE, Verdict

if TYPE_CHECKING:
    from streamdet.store.reader import EventFilter, StoredEvent, StoreReader
    from streamdet.store.store import EventStore


ReviewStep = Literal["reviewed", "next", "back", "quit"]
"""What the user did with an event."""

_KEYS = "t true, f false, u unsure, p play clip, n note, k back, j skip, q quit"


def review(
    store: options.StoreOption,
    event: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Give this event the verdict of --verdict and exit."),
    ] = None,
    verdict: Annotated[
        str | None, typer.Option(metavar="VERDICT", help="With --event: true, false or unsure.")
    ] = None,
    cause: Annotated[
        str | None,
        typer.Option(
            metavar="CAUSE",
            help="With --verdict false: fireworks, door, vehicle, thunder, construction, music, "
            "speech, television or other.",
            show_default="other",
        ),
    ] = None,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With --event: a note for the verdict.")
    ] = None,
    reviewer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the reviewer.", show_default="name of the user"),
    ] = None,
    clips: options.ClipsOption = None,
    since: options.SinceOption = None,
    source: options.SourceOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="Include events that are already reviewed.")
    ] = False,
    web: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Serve the review page on this loopback address instead (extra web).",
        ),
    ] = None,
) -> None:
    """Review stored events in the terminal, oldest first: was it a gunshot?

    Type a key and Enter: t true, f false (then its cause), u unsure, p play the clip, n add a note,
    k back, j skip, q quit. Every verdict is stored at once and can be changed later.

    Examples:

    \b
      streamdet review --store events.db --since 24h
      streamdet review --store events.db --event ID --verdict false --cause fireworks
      streamdet review --store events.db --web 127.0.0.1:9478
    """
    _check_options(store, event, verdict, cause, note, web)
    folder = options.clips_folder(store, clips)
    if web is not None:
        _serve_page(store, folder, web)
        return
    from streamdet.store.reader import EventFilter, StoreReader
    from streamdet.store.store import EventStore, StoreError

    name = reviewer or _user_name()
    try:
        given = None if verdict is None else Verdict(verdict, cause, note, name)
    except ValueError as error:
        raise CommandError(str(error)) from error
    event_filter = EventFilter(
        options.parse_when(since, "--since"), source=source, verdict=None if again else "none"
    )
    try:
        event_store = EventStore(store, aside=False)
        try:
            if event is not None and given is not None:
                event_store.review(event, given)
                suffix = f" ({given.cause})" if given.cause else ""
                typer.echo(f"{event}: {given.verdict}{suffix}")
            else:
                _review_events(event_store, StoreReader(store), event_filter, folder, name)
        finally:
            event_store.close()
    except StoreError as error:
        raise CommandError(str(error)) from error


def _check_options(
    store: Path,
    event: str | None,
    verdict: str | None,
    cause: str | None,
    note: str | None,
    web: str | None,
) -> None:
    if (event is None) != (verdict is None):
        raise CommandError("--event and --verdict: give both or neither")
    if event is None and (cause is not None or note is not None):
        raise CommandError("--cause and --note: need --event and --verdict")
    if web is not None and event is not None:
        raise CommandError("--web and --event: give one of them")
    if not store.is_file():
        raise CommandError(f"{store}: there is no such event store")


def _serve_page(store: Path, clips: Path, address: str) -> None:
    from streamdet.config.schema import is_loopback

    try:
        from streamdet.web.server import PageError, serve_store
    except ImportError as error:
        raise CommandError(f"--web: {options.MISSING_WEB}") from error
    if not is_loopback(address):
        raise CommandError(
            f"--web {address}: only loopback addresses are served without a token. "
            "Use 127.0.0.1, or the [web] configuration of `listen`"
        )
    try:
        serve_store(store, clips, address)
    except PageError as error:
        raise CommandError(str(error)) from error


def _user_name() -> str | None:
    try:
        return getpass.getuser()[:64]
    except (OSError, KeyError):  # a user id without an account
        return None


def _review_events(
    store: EventStore,
    reader: StoreReader,
    event_filter: EventFilter,
    clips: Path,
    reviewer: str | None,
) -> None:
    """Ask for the verdict of each event."""
    if not sys.stdin.isatty():
        raise CommandError("stdin is not a terminal: run it in a terminal, or give --event")
    ids = [stored.event.id for stored in reader.events(event_filter)]
    if not ids:
        typer.echo("no events to review")
        return
    events = "1 event" if len(ids) == 1 else f"{len(ids)} events"
    typer.echo(f"{events} to review. Type a key and Enter: {_KEYS}")
    index = reviewed = 0
    while index < len(ids):
        stored = reader.event(ids[index])
        typer.echo(f"\n[{index + 1}/{len(ids)}] {_describe_event(stored)}")
        step = _ask_verdict(store, stored, clips, reviewer)
        if step == "quit":
            break
        reviewed += step == "reviewed"
        index = max(0, index - 1) if step == "back" else index + 1
    typer.echo(f"\n{reviewed} reviewed")


def _ask_verdict(
    store: EventStore, stored: StoredEvent, clips: Path, reviewer: str | None
) -> ReviewStep:
    """Ask until the event has a verdict, or the user leaves it."""
    note = stored.note
    while True:
        match typer.prompt("t f u p n j k q", prompt_suffix=" > ", default="j")[:1].lower():
            case "t":
                store.review(stored.event.id, Verdict("true", None, note, reviewer))
                return "reviewed"
            case "f":
                cause = _ask_cause()
                store.review(stored.event.id, Verdict("false", cause, note, reviewer))
                return "reviewed"
            case "u":
                store.review(stored.event.id, Verdict("unsure", None, note, reviewer))
                return "reviewed"
            case "p":
                _play_clip(stored, clips)
            case "n":
                note = typer.prompt("note")[:MAX_NOTE]
            case "j":
                return "next"
            case "k":
                return "back"
            case "q":
                return "quit"
            case _:
                typer.echo(_KEYS)


def _ask_cause() -> str:
    """Ask for a cause, by number or by the start of its name."""
    choices = ", ".join(f"{number} {name}" for number, name in enumerate(CAUSES, 1))
    while True:
        answer = typer.prompt(f"cause: {choices}", default="other").strip().lower()
        if answer.isdigit() and 1 <= int(answer) <= len(CAUSES):
            return CAUSES[int(answer) - 1]
        if matches := [name for name in CAUSES if answer and name.startswith(answer)]:
            return matches[0]


def _describe_event(stored: StoredEvent) -> str:
    from streamdet.detection.event import format_utc
    from streamdet.formats import ScoreExplanation
    from streamdet.formats.table import format_clock
    from streamdet.text import printable

    d = stored.event.detection
    other_labels = ScoreExplanation(stored.curve).top_labels(stored.event)
    rounds = "round" if d.rounds == 1 else "rounds"
    has_clock = stored.event.unix_s is not None
    time = format_utc(stored.time_s) if has_clock else format_clock(stored.event.onset_s)
    lines = [
        f"{time}  {printable(stored.event.source)}  {d.rounds} {rounds}  "
        f"score {d.score:.2f} (threshold {d.threshold:.2f})  {d.level_dbfs:.0f} dBFS",
        "  other labels: " + ", ".join(f"{name} {p:.2f}" for name, p in other_labels),
    ]
    if stored.curve:
        lines.append("  score " + sparkline([p for _, p in stored.curve]))
    if stored.verdict:
        lines.append(f"  earlier verdict: {stored.verdict} {stored.cause or ''}".rstrip())
    lines.append("  clip available (p plays it)" if stored.clip else "  no clip")
    return "\n".join(lines)


def sparkline(values: list[float], width: int = 60) -> str:
    """Values from 0 to 1 as at most ``width`` block characters, each the maximum of its part."""
    step = -(-len(values) // width)
    maxima = [max(values[i : i + step]) for i in range(0, len(values), step)]
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * v))] for v in maxima)


def _play_clip(stored: StoredEvent, clips: Path) -> None:
    from streamdet.store.clips import ClipError, ClipFolder

    if not stored.clip:
        typer.echo("this event has no clip")
        return
    import soundfile

    try:
        samples, rate = soundfile.read(ClipFolder(clips).path(stored.event.id), dtype="float32")
    except (ClipError, OSError, soundfile.LibsndfileError) as error:
        typer.echo(f"the clip cannot be read: {error}")
        return
    try:
        import sounddevice
    except OSError:
        typer.echo("the clip cannot be played: PortAudio is missing. apt-get install libportaudio2")
        return
    try:
        sounddevice.play(samples, rate, blocking=True)
    except sounddevice.PortAudioError as error:
        typer.echo(f"the clip cannot be played: {error.args[0]}")
