"""From the configuration to the parts of a daemon; every mistake is a `ConfigError`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamdet.audio.live import LiveSource
from streamdet.audio.pipe import RawFormat
from streamdet.config import secret
from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config, MqttConfig, SourceConfig, WebhookConfig
from streamdet.daemon.supervision import RetryPolicy
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import Engine
from streamdet.detection.operating_point import ThresholdError, choose_threshold
from streamdet.model.bundle import Bundle, BundleError, load
from streamdet.outputs.queue import Output, OutputError, OutputQueue
from streamdet.outputs.spool import Spool, SpooledOutputQueue, SpoolError
from streamdet.pipeline import engine_choice
from streamdet.pipeline.jax_setup import configure_jax
from streamdet.pipeline.platform import Platform, PlatformError
from streamdet.store.clips import ClipError
from streamdet.store.store import StoreError

if TYPE_CHECKING:
    from streamdet.daemon.event_storage import EventStorage

OutputChanged = Callable[[str, str | None], None]
"""Told of an output by name, and of its fault or that there is none any more."""
QueuedOutput = OutputQueue | SpooledOutputQueue


def load_configured_bundle(config: Config) -> Bundle:
    """The bundle that is to hear."""
    try:
        return load(config.model)
    except BundleError as error:
        raise ConfigError([f"model: {error}"]) from error


def build_engine(config: Config, of: Bundle) -> Engine:
    """The engine of all sources."""
    try:
        return engine_choice.live_batch_engine(
            of, Platform(config.platform), len(config.sources), configure_jax
        )
    except PlatformError as error:
        raise ConfigError([str(error)]) from error


def build_decision(config: Config, of: Bundle, source: SourceConfig) -> DecisionConfig:
    """When a source's probability is an event: by its own keys before those of all."""
    for where, table in ((f"sources.{source.name}.", source), ("", config)):
        if table.threshold is not None or table.operating_point is not None:
            try:
                return DecisionConfig(choose_threshold(of, table.threshold, table.operating_point))
            except ThresholdError as error:
                raise ConfigError([f"{where}{error}"]) from error
    return DecisionConfig(choose_threshold(of))


def build_retry_policy(config: Config, source: SourceConfig) -> RetryPolicy:
    """How patient to be with a source."""
    return RetryPolicy(
        open_s=config.open_s,
        stall_s=source.stall_s or config.stall_s,
        first_retry_s=config.retry_first_s,
        max_retry_s=config.retry_most_s,
        silence_s=config.silence_s,
    )


def create_live_source(
    config: Config, source: SourceConfig, wake: Callable[[], None]
) -> LiveSource:
    """A new opening of a source."""
    ring_s = config.ring_s
    if source.device is not None:
        from streamdet.audio.microphone import MicrophoneSource

        most = max(2, source.channel or 0)
        return MicrophoneSource(source.name, source.device or None, most, ring_s, wake)
    if source.url is not None:
        from streamdet.audio.network import NetworkSource

        stall_s = source.stall_s or config.stall_s
        return NetworkSource(source.name, source.url, config.open_s, stall_s, ring_s, wake)
    if source.pipe is not None:
        from streamdet.audio.fifo import FifoSource

        raw = RawFormat(source.rate, source.channels, source.encoding)
        return FifoSource(source.name, source.pipe, raw, ring_s, wake)
    from streamdet.audio.replay import ReplaySource

    return ReplaySource(
        source.name, source.file or Path(), ring_s, wake, realtime=source.realtime,
        loop=source.loop,
    )  # fmt: skip


def spool_folder(config: Config, environment: Mapping[str, str] | None = None) -> Path:
    """Where spools are: as configured, else by systemd's or the user's own rules."""
    if config.spool.folder is not None:
        return config.spool.folder
    environment = os.environ if environment is None else environment
    if state := environment.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0]) / "spool"
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "streamdet" / "spool"


OUTPUT_NAMES = ("stdout", "jsonl", "mqtt", "webhook", "command")


def output_key(config: Config, name: str) -> object:
    """What an output depends on: where that has changed it is made anew."""
    table = getattr(config, name)
    if name == "stdout":
        return None if table.phase == "off" else table
    if table is None or name in ("jsonl", "command"):
        return table
    names = tuple(s.name for s in config.sources) if name == "mqtt" else ()
    return (table, config.spool, names)


def build_output(
    config: Config, name: str, changed: OutputChanged, reader_gone: Callable[[], None]
) -> QueuedOutput:
    """The output of this name, which the configuration has; not started. Raises ConfigError."""

    def noted(fault: str | None) -> None:
        changed(name, fault)

    try:
        if name == "stdout":
            from streamdet.outputs.jsonl import StdoutOutput

            told = config.stdout
            return OutputQueue(name, StdoutOutput(reader_gone), told.queue, told.phase, noted)
        if name == "jsonl" and config.jsonl is not None:
            from streamdet.outputs.jsonl import RotatingFileOutput

            kept = config.jsonl
            lines = RotatingFileOutput(kept.path, kept.max_bytes, kept.keep)
            return OutputQueue(name, lines, kept.queue, kept.phase, noted, kept.tells)
        if name == "command" and config.command is not None:
            from streamdet.outputs.command import CommandOutput

            run = config.command
            return OutputQueue(name, CommandOutput(run), run.queue, run.phase, noted, run.tells)
        remote = config.mqtt if name == "mqtt" else config.webhook
        if remote is None:
            raise ValueError(f"{name} is not configured")
        spool = Spool(spool_folder(config) / f"{name}.db", config.spool.max_bytes)
        if spool.damaged_copy is not None:
            noted(f"the spool was damaged; it is kept as {spool.damaged_copy}")
        to = _remote(remote, [s.name for s in config.sources])
        return SpooledOutputQueue(name, to, spool, remote.queue, remote.phase, noted, remote.tells)
    except (OutputError, SpoolError) as error:
        raise ConfigError([str(error)]) from error


def _remote(table: MqttConfig | WebhookConfig, sources: Sequence[str]) -> Output:
    if isinstance(table, MqttConfig):
        from streamdet.outputs.mqtt import MqttOutput

        password = _secret(table.password_file, "mqtt.password_file")
        try:
            return MqttOutput(table, password, sources)
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            raise ConfigError([f"mqtt: {said}"]) from error
    from streamdet.outputs.webhook import WebhookOutput

    url = table.url or _secret(table.url_file, "webhook.url_file") or ""
    return WebhookOutput(table, url, _secret(table.secret_file, "webhook.secret_file"))


def metrics_token(config: Config) -> str | None:
    """What whoever reads /metrics has to show."""
    return _secret(config.http.token_file, "http.token_file")


def web_token(config: Config) -> str | None:
    """What whoever opens the review page has to know."""
    return _secret(config.web and config.web.token_file, "web.token_file")


def open_storage(config: Config) -> EventStorage | None:
    """The event store and the clips, nothing begun; None where none is kept. Raises ConfigError."""
    from streamdet.daemon.event_storage import EventStorage

    if config.store is None:
        return None
    try:
        return EventStorage(config.store, config.clips)
    except (StoreError, ClipError) as error:
        raise ConfigError([str(error)]) from error


def check_secrets(config: Config) -> list[str]:
    """What is wrong with the files of secrets; none is kept."""
    faults: list[str] = []
    for key, where in (
        ("http.token_file", config.http.token_file),
        ("web.token_file", config.web and config.web.token_file),
        ("mqtt.password_file", config.mqtt and config.mqtt.password_file),
        ("webhook.url_file", config.webhook and config.webhook.url_file),
        ("webhook.secret_file", config.webhook and config.webhook.secret_file),
    ):
        try:
            _secret(where, key)
        except ConfigError as error:
            faults += error.faults
    return faults


def _secret(where: str | None, key: str) -> str | None:
    return None if where is None else secret.read_secret(where, key)
