"""`streamdet selftest`: check that a synthetic gunshot is detected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamdet.cli import options
from streamdet.cli.errors import EXIT_CODE_BY_REASON, NOT_DETECTED, CommandError
from streamdet.pipeline.platform import Platform

if TYPE_CHECKING:
    from streamdet.pipeline.selftest import SelfTestResult


_NOT_WITH_CONFIG = ("device", "threshold", "operating_point", "model", "verify", "platform")


def selftest(
    context: typer.Context,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Play the sound on the default output and record it with this input, through a "
            "loopback or through the air.",
            show_default="in memory, without a device",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Test each source of this configuration, in memory, at its threshold. That of a "
            "budget of false alarms follows from the saved background.",
            show_default="test the options given here",
        ),
    ] = None,
    settings: options.SetOption = None,
    threshold: options.ThresholdOption = None,
    operating_point: options.OperatingPointOption = None,
    model: options.ModelOption = None,
    verify: options.VerifyOption = options.Switch.on,
    platform: options.PlatformOption = Platform.auto,
) -> None:
    """Check that synthetic muzzle blasts are detected, and print the score and the latency.

    One of three synthetic bursts (streamdet/synth.py) must be detected. They pass through the same
    code as live audio. With --config it prints a line for each source, and fails if any fails.

    The test checks the installation. How well real gunshots are detected is in docs/model.md.

    Examples:

    \b
      streamdet selftest
      streamdet selftest --device "USB Audio"
      streamdet selftest --config /etc/streamdet/streamdet.toml
    """
    if config is not None:
        for name in _NOT_WITH_CONFIG:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                option = name.replace("_", "-")
                raise CommandError(f"--{option}: not available with --config. Use --set")
        _test_sources(config, settings)
        return
    if settings:
        raise CommandError("--set: needs --config")
    from streamdet.audio.source import SourceError
    from streamdet.pipeline import engine_choice, selftest
    from streamdet.pipeline.jax_setup import configure_jax

    bundle = options.load_bundle(model)
    second_stage = verify is options.Switch.on
    decision = options.decision_for(bundle, threshold, operating_point, verify=second_stage)
    engine = options.create_on_platform(
        lambda: engine_choice.live_engine(bundle, platform, configure_jax)
    )
    scorer = options.create_on_platform(
        lambda: engine_choice.scorer_for(bundle, engine, verify=second_stage)
    )
    if device is None:
        result = selftest.run_in_memory(engine, decision, scorer=scorer)
    else:
        try:
            result = selftest.run_through_device(engine, decision, device, scorer)
        except SourceError as error:
            raise CommandError(str(error), EXIT_CODE_BY_REASON[error.reason]) from error
    typer.echo(_describe(result, decision.threshold))
    if result is None:
        raise typer.Exit(NOT_DETECTED)


def _test_sources(path: Path, settings: list[str] | None) -> None:
    """Test each source of a configuration as the daemon would run it."""
    from streamdet.config import layers
    from streamdet.config.schema import SourceConfig
    from streamdet.daemon import builders, folders
    from streamdet.daemon.backgrounds import BackgroundFiles, build_budget
    from streamdet.pipeline import engine_choice, selftest
    from streamdet.pipeline.jax_setup import configure_jax
    from streamdet.text import printable

    def report_problem(source: str, problem: str) -> None:
        typer.echo(f"streamdet: {source}: {problem}", err=True)

    try:
        config = layers.read_config(path, layers.from_settings(settings or []))
        bundle = builders.load_configured_bundle(config)
        sources = config.sources or (SourceConfig(name="default", device=""),)
        setups = {source.name: build_budget(config, bundle, source) for source in sources}
        decisions = {s.name: builders.build_decision(config, bundle, s) for s in sources}
    except layers.ConfigError as error:
        raise CommandError("\nstreamdet: ".join(error.faults)) from error
    files = BackgroundFiles(folders.background_folder(config), report_problem)
    engine = options.create_on_platform(
        lambda: engine_choice.live_engine(bundle, Platform(config.platform), configure_jax)
    )
    scorer = options.create_on_platform(
        lambda: engine_choice.scorer_for(bundle, engine, verify=config.verify)
    )
    results: dict[float, SelfTestResult | None] = {}
    for name, setup in setups.items():
        decision, origin = decisions[name], ""
        if setup is not None:
            budget = files.load(name, setup)
            decision = replace(decision, threshold=budget.threshold)
            origin = f", from {budget.background_s / 3_600.0:.1f} h of background"
        threshold = decision.threshold
        if threshold not in results:
            results[threshold] = selftest.run_in_memory(engine, decision, scorer=scorer)
        typer.echo(f"{printable(name)}: {_describe(results[threshold], threshold, origin)}")
    if None in results.values():
        raise typer.Exit(NOT_DETECTED)


def _describe(result: SelfTestResult | None, threshold: float, origin: str = "") -> str:
    at = f"threshold {threshold:.4f}{origin}"
    if result is None:
        return f"not detected: no event for synthetic muzzle blasts ({at})"
    verified = ""
    if result.verified_s is not None:
        verified = f", verified after {result.verified_s * 1000:.0f} ms"
    return (
        f"detected: synthetic muzzle blasts, score {result.detection.score:.4f} ({at}), "
        f"{result.latency_s * 1000:.0f} ms after their onset{verified}"
    )
