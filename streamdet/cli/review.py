"""`streamdet review`: say of events whether they were shots."""

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
    from streamdet.store.reader import StoredEvent, StoreReader
    from streamdet.store.store import EventStore


Step = Literal["said", "next", "back", "quit"]
"""Where a walk goes from an event."""

_HELP = "t true, f false, u unsure, p play, n note, k back, j next (leave it), q quit"


def review(
    store: options.StorePath,
    event: Annotated[str | None, typer.Option(help="Say it of this event, and don't ask.")] = None,
    verdict: Annotated[
        str | None, typer.Option(help="With --event: true, false or unsure.")
    ] = None,
    cause: Annotated[
        str | None, typer.Option(help="What a false one was: fireworks, door, vehicle and so on.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="Words to keep with it.")] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Who says it; the user's name if not given.")
    ] = None,
    clips: options.ClipsPath = None,
    since: options.Since = None,
    source: options.SourceName = None,
    again: Annotated[bool, typer.Option("--again", help="Walk through reviewed ones too.")] = False,
    web: Annotated[
        str | None, typer.Option(help="Serve the review page at HOST:PORT instead (extra web).")
    ] = None,
) -> None:
    """Walk through events that nobody has reviewed, oldest first, and say what they were.

    In the walk: t true, f false (then its cause), u unsure, p play its clip, n a note, k back,
    j next without a word, q quit. Every verdict is kept at once, and can be changed.

    Example: streamdet review --store events.db --event ID --verdict false --cause fireworks
    """
    from streamdet.store.reader import StoreReader
    from streamdet.store.store import EventStore, StoreError

    if (event is None) != (verdict is None):
        raise CommandError("--event and --verdict: give both or none")
    if event is None and (cause is not None or note is not None):
        raise CommandError("--cause and --note: they go with --event and --verdict")
    if web is not None and event is not None:
        raise CommandError("--web and --event: give one of them")
    if not store.is_file():
        raise CommandError(f"{store}: there is no such event store")
    folder = options.clips_folder(store, clips)
    if web is not None:
        _serve(store, folder, web)
        return
    name = reviewer or _user()
    try:
        said = None if verdict is None else Verdict(verdict, cause, note, name)
    except ValueError as error:
        raise CommandError(str(error)) from error
    try:
        kept = EventStore(store, aside=False)
        try:
            if event is not None and said is not None:
                kept.review(event, said)
                of = f" ({said.cause})" if said.cause else ""
                typer.echo(f"{event}: {said.verdict}{of}")
            else:
                _walk(kept, StoreReader(store), folder, since, source, name, again=again)
        finally:
            kept.close()
    except StoreError as error:
        raise CommandError(str(error)) from error


def _serve(store: Path, clips: Path, address: str) -> None:
    from streamdet.config.schema import is_loopback

    try:
        from streamdet.web.server import PageError, serve_store
    except ImportError as error:
        raise CommandError(f"--web: {options.NO_WEB}") from error
    if not is_loopback(address):
        raise CommandError(
            f"--web {address}: only loopback is served without a token; use [web] of `listen`"
        )
    try:
        serve_store(store, clips, address)
    except PageError as error:
        raise CommandError(str(error)) from error


def _user() -> str | None:
    try:
        return getpass.getuser()[:64]
    except (OSError, KeyError):  # a user without a name
        return None


def _walk(
    store: EventStore,
    reader: StoreReader,
    clips: Path,
    since: str | None,
    source: str | None,
    reviewer: str | None,
    *,
    again: bool,
) -> None:
    from streamdet.store.reader import EventFilter

    wanted = EventFilter(
        options.parse_when(since, "--since"),
        source=source,
        verdict=None if again else "none",
    )
    if not sys.stdin.isatty():
        raise CommandError("the walk asks questions: run it in a terminal, or give --event")
    ids = [stored.event.id for stored in reader.events(wanted)]
    if not ids:
        typer.echo("nothing to review")
        return
    typer.echo(f"{len(ids)} to review. {_HELP}")
    at = said = 0
    while at < len(ids):
        stored = reader.event(ids[at])
        typer.echo(f"\n[{at + 1}/{len(ids)}] {_described(stored)}")
        step = _ask(store, stored, clips, reviewer)
        if step == "quit":
            break
        said += step == "said"
        at = max(0, at - 1) if step == "back" else at + 1
    typer.echo(f"\n{said} reviewed")


def _ask(store: EventStore, stored: StoredEvent, clips: Path, reviewer: str | None) -> Step:
    """Ask of one event until something is said of it, or it is left."""
    note = stored.note
    while True:
        match typer.prompt("t f u p n j k q", prompt_suffix=" > ", default="j")[:1].lower():
            case "t":
                store.review(stored.event.id, Verdict("true", None, note, reviewer))
                return "said"
            case "f":
                chosen = _ask_cause()
                store.review(stored.event.id, Verdict("false", chosen, note, reviewer))
                return "said"
            case "u":
                store.review(stored.event.id, Verdict("unsure", None, note, reviewer))
                return "said"
            case "p":
                _play(stored, clips)
            case "n":
                note = typer.prompt("note")[:MAX_NOTE]
            case "j":
                return "next"
            case "k":
                return "back"
            case "q":
                return "quit"
            case _:
                typer.echo(_HELP)


def _ask_cause() -> str:
    listed = ", ".join(f"{i} {name}" for i, name in enumerate(CAUSES, 1))
    while True:
        told = typer.prompt(f"what was it? {listed}", default="other").strip().lower()
        if told.isdigit() and 1 <= int(told) <= len(CAUSES):
            return CAUSES[int(told) - 1]
        if near := [name for name in CAUSES if told and name.startswith(told)]:
            return near[0]


def _described(stored: StoredEvent) -> str:
    from streamdet.detection.event import format_utc
    from streamdet.formats import ScoreExplanation
    from streamdet.text import printable

    d = stored.event.detection
    others = ScoreExplanation(stored.curve).top_labels(stored.event)
    rounds = "round" if d.rounds == 1 else "rounds"
    words = [
        f"{format_utc(stored.time_s)}  {printable(stored.event.source)}  {d.rounds} {rounds}  "
        f"score {d.score:.2f} (threshold {d.threshold:.2f})  {d.level_dbfs:.0f} dBFS",
        "  also: " + ", ".join(f"{name} {p:.2f}" for name, p in others),
    ]
    if stored.curve:
        words.append("  score " + sparkline([p for _, p in stored.curve]))
    if stored.verdict:
        words.append(f"  said before: {stored.verdict} {stored.cause or ''}")
    words.append("  clip: p plays it" if stored.clip else "  no clip")
    return "\n".join(words)


def sparkline(values: list[float], most: int = 60) -> str:
    """Values from 0 to 1 as so many blocks at most, the highest of each part."""
    step = -(-len(values) // most)
    highest = [max(values[i : i + step]) for i in range(0, len(values), step)]
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * v))] for v in highest)


def _play(stored: StoredEvent, clips: Path) -> None:
    from streamdet.store.clips import ClipError, ClipFolder

    if not stored.clip:
        typer.echo("no clip was kept")
        return
    import soundfile

    try:
        samples, rate = soundfile.read(ClipFolder(clips).path(stored.event.id), dtype="float32")
    except (ClipError, OSError, soundfile.LibsndfileError) as error:
        typer.echo(f"it can't be read: {error}")
        return
    try:
        import sounddevice
    except OSError:
        typer.echo("it can't be played: no PortAudio; apt-get install libportaudio2")
        return
    try:
        sounddevice.play(samples, rate, blocking=True)
    except sounddevice.PortAudioError as error:
        typer.echo(f"it can't be played: {error.args[0]}")
