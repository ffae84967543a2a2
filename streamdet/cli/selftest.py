"""`streamdet selftest`: check that a synthetic gunshot is detected."""

from __future__ import annotations

from typing import Annotated

import typer

from streamdet.cli import options
from streamdet.cli.errors import EXIT_CODE_BY_REASON, NOT_DETECTED, CommandError
from streamdet.pipeline.platform import Platform


def selftest(
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Play the sound on the default output and record it with this input, through a "
            "loopback or through the air.",
            show_default="in memory, without a device",
        ),
    ] = None,
    threshold: options.ThresholdOption = None,
    operating_point: options.OperatingPointOption = None,
    model: options.ModelOption = None,
    verify: options.VerifyOption = options.Switch.on,
    platform: options.PlatformOption = Platform.auto,
) -> None:
    """Check that a synthetic muzzle blast is detected, and print its score and latency.

    The sound is a Friedlander wave with a ground reflection and a decaying tail
    (streamdet/synth.py). It passes through the same ring buffer, resampler, network and decision
    as live audio. The test checks that the installation works. How well real gunshots are
    detected is in docs/model.md.

    Examples:

    \b
      streamdet selftest
      streamdet selftest --device "USB Audio"
    """
    from streamdet.audio.source import SourceError
    from streamdet.detection.window_scorer import create_scorer
    from streamdet.pipeline import engine_choice, selftest
    from streamdet.pipeline.jax_setup import configure_jax

    bundle = options.load_bundle(model)
    second_stage = verify is options.Switch.on
    decision = options.decision_for(bundle, threshold, operating_point, verify=second_stage)
    scorer = create_scorer(bundle, verify=second_stage)
    engine = options.create_engine(
        lambda: engine_choice.live_engine(bundle, platform, configure_jax)
    )
    if device is None:
        result = selftest.run_in_memory(engine, decision, scorer=scorer)
    else:
        try:
            result = selftest.run_through_device(engine, decision, device, scorer)
        except SourceError as error:
            raise CommandError(str(error), EXIT_CODE_BY_REASON[error.reason]) from error
    if result is None:
        typer.echo("not detected: no event for a synthetic muzzle blast")
        raise typer.Exit(NOT_DETECTED)
    d = result.detection
    typer.echo(
        f"detected: synthetic muzzle blast, score {d.score:.2f} (threshold {d.threshold:.2f}), "
        f"{result.latency_s * 1000:.0f} ms after its onset"
    )
