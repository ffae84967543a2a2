"""`streamdet selftest`: a smoke alarm's test button."""

from __future__ import annotations

from typing import Annotated

import typer

from streamdet.cli import options
from streamdet.cli.errors import EXIT_CODES, CommandError
from streamdet.pipeline.platform import Platform


def selftest(
    device: Annotated[
        str | None,
        typer.Option(help="Play it to the default output and listen on this input."),
    ] = None,
    threshold: options.Threshold = None,
    operating_point: options.Point = None,
    model: options.Model = None,
    platform: options.PlatformOption = Platform.auto,
) -> None:
    """Make a muzzle blast, play it through the whole road, and say whether it was heard.

    With --device the blast goes out of the default output and must come back by that
    input: through a loopback, or through the air. Exit code 1 where it was not heard.

    Example: streamdet selftest
    """
    from streamdet.audio.source import SourceError
    from streamdet.pipeline import engine_choice, selftest
    from streamdet.pipeline.jax_setup import configure_jax

    bundle = options.load_bundle(model)
    decision = options.decision_for(bundle, threshold, operating_point)
    engine = options.create_engine(
        lambda: engine_choice.live_engine(bundle, platform, configure_jax)
    )
    if device is None:
        heard = selftest.run_in_memory(engine, decision)
    else:
        try:
            heard = selftest.run_through_device(engine, decision, device)
        except SourceError as error:
            raise CommandError(str(error), EXIT_CODES[error.reason]) from error
    if heard is None:
        typer.echo("not heard: no event for a synthetic muzzle blast")
        raise typer.Exit(1)
    d = heard.detection
    typer.echo(
        f"heard: a synthetic muzzle blast, score {d.score:.2f} (threshold {d.threshold:.2f}), "
        f"{heard.latency_s * 1000:.0f} ms after it began"
    )
