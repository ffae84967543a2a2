"""Builds the parts of a daemon from its configuration. Every error is a `ConfigError`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamdet.audio.live import LiveSource
from streamdet.audio.pipe import RawFormat
from streamdet.config import checks, secret
from streamdet.config.layers import ConfigError
from streamdet.config.schema import (
    CommandConfig,
    Config,
    JsonlConfig,
    MqttConfig,
    SourceConfig,
    WebhookConfig,
)
from streamdet.daemon.backgrounds import build_budget
from streamdet.daemon.folders import spool_folder
from streamdet.daemon.metrics import Metrics
from streamdet.daemon.supervision import RetryPolicy
from streamdet.detection import adaptive_threshold
from streamdet.detection.background_format import BackgroundError
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import Engine
from streamdet.detection.operating_point import ThresholdError, choose_threshold
from streamdet.detection.window_scorer import WindowScorer
from streamdet.model.bundle import Bundle, BundleError, Verifier, load
from streamdet.model.config import FrontendConfig
from streamdet.outputs.queue import Output, OutputError, OutputQueue, RecordFilter
from streamdet.outputs.spool import Spool, SpooledOutputQueue, SpoolError
from streamdet.pipeline import engine_choice
from streamdet.pipeline.budget_threshold import BudgetSetup, set_up_fixed
from streamdet.pipeline.jax_setup import configure_jax
from streamdet.pipeline.platform import Platform, PlatformError
from streamdet.store.clips import ClipError
from streamdet.store.store import StoreError

if TYPE_CHECKING:
    from streamdet.daemon.event_storage import EventStorage

OutputChanged = Callable[[str, str | None], None]
"""Called with the name of an output, and its fault or None once it works again."""
QueuedOutput = OutputQueue | SpooledOutputQueue


def load_configured_bundle(config: Config) -> Bundle:
    """The bundle that the configuration names."""
    try:
        return load(config.model)
    except BundleError as error:
        raise ConfigError([f"model: {error}"]) from error


def build_engine(config: Config, bundle: Bundle) -> Engine:
    """The engine that all sources share."""
    platform = Platform(config.platform)
    try:
        return engine_choice.live_batch_engine(bundle, platform, len(config.sources), configure_jax)
    except PlatformError as error:
        raise ConfigError([str(error)]) from error


def build_decision(config: Config, bundle: Bundle, source: SourceConfig) -> DecisionConfig:
    """The threshold of a source: its own keys take precedence over the general ones.

    For a source with a budget it is that of the bundle's prior.
    """
    verify = config.verify
    if (budget := build_budget(config, bundle, source)) is not None:
        return DecisionConfig(adaptive_threshold.init(budget.config, budget.prior).threshold)
    for prefix, table in ((f"sources.{source.name}.", source), ("", config)):
        if table.threshold is not None or table.operating_point is not None:
            try:
                return DecisionConfig(
                    choose_threshold(bundle, table.threshold, table.operating_point, verify=verify)
                )
            except ThresholdError as error:
                raise ConfigError([f"{prefix}{error}"]) from error
    return DecisionConfig(choose_threshold(bundle, verify=verify))


def build_background(config: Config, bundle: Bundle, source: SourceConfig) -> BudgetSetup:
    """The budget of a source; if it has none, the setup that observes the background of its fixed
    threshold. Raises ConfigError."""
    if (budget := build_budget(config, bundle, source)) is not None:
        return budget
    threshold = build_decision(config, bundle, source).threshold
    try:
        return set_up_fixed(bundle, threshold, config.background.half_life_s, verify=config.verify)
    except BackgroundError as error:
        raise ConfigError([f"model: {bundle.name}: {error}"]) from error


class _TimedScorer(WindowScorer):
    """A verifier whose time is measured."""

    def __init__(self, frontend: FrontendConfig, verifier: Verifier, metrics: Metrics) -> None:
        super().__init__(frontend, verifier)
        self._metrics = metrics

    def score_windows(self, log_mel: np.ndarray, starts: list[int]) -> np.ndarray:
        """Score windows, and export how long each took."""
        began = time.perf_counter()
        scores = super().score_windows(log_mel, starts)
        spent_s = (time.perf_counter() - began) / len(starts)
        for _ in starts:
            self._metrics.verification.observe(spent_s)
        return scores


def build_scorer(bundle: Bundle, metrics: Metrics, *, verify: bool) -> WindowScorer | None:
    """The bundle's verifier, if it has one and ``verify`` is on."""
    frontend, verifier = bundle.frontend, bundle.verifier
    if verifier is None or not verify or not isinstance(frontend, FrontendConfig):
        return None
    return _TimedScorer(frontend, verifier, metrics)


def build_retry_policy(config: Config, source: SourceConfig) -> RetryPolicy:
    """The timeouts and the backoff of a source."""
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
    """A stream of a source, not opened. Each reconnect needs a new one."""
    ring_s = config.ring_s
    if source.device is not None:
        from streamdet.audio.microphone import MicrophoneSource

        channels = max(2, source.channel or 0)
        return MicrophoneSource(source.name, source.device or None, channels, ring_s, wake)
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


OUTPUT_NAMES = ("stdout", "jsonl", "mqtt", "webhook", "command")


def output_key(config: Config, name: str) -> object:
    """The part of the configuration that an output depends on; None if it is not configured."""
    table = getattr(config, name)
    if name == "stdout":
        return None if table.phase == "off" else table
    if table is None or name in ("jsonl", "command"):
        return table
    sources = tuple(source.name for source in config.sources) if name == "mqtt" else ()
    return (table, config.spool, sources)


def build_output(
    config: Config, name: str, changed: OutputChanged, reader_gone: Callable[[], None]
) -> QueuedOutput:
    """A configured output with its queue. Nothing is open yet: see `open_output`."""

    def on_change(fault: str | None) -> None:
        changed(name, fault)

    if name == "stdout":
        from streamdet.outputs.jsonl import StdoutOutput

        table = config.stdout
        wanted = RecordFilter(table.phase, tell=table.tell)
        return OutputQueue(name, StdoutOutput(reader_gone), table.queue, wanted, on_change)
    if name == "jsonl" and (table := config.jsonl) is not None:
        from streamdet.outputs.jsonl import RotatingFileOutput

        output = RotatingFileOutput(table.path, table.max_bytes, table.keep)
        return OutputQueue(name, output, table.queue, _record_filter(table), on_change)
    if name == "command" and (table := config.command) is not None:
        from streamdet.outputs.command import CommandOutput

        output = CommandOutput(table)
        return OutputQueue(name, output, table.queue, _record_filter(table), on_change)
    table = config.mqtt if name == "mqtt" else config.webhook
    if table is None:
        raise ConfigError([f"{name}: not configured"])
    try:
        output = _remote_output(table, [source.name for source in config.sources])
    except OutputError as error:
        raise ConfigError([str(error)]) from error
    spool = Spool(spool_folder(config) / f"{name}.db", config.spool.max_bytes)
    return SpooledOutputQueue(name, output, spool, table.queue, _record_filter(table), on_change)


def _record_filter(
    table: JsonlConfig | MqttConfig | WebhookConfig | CommandConfig,
) -> RecordFilter:
    return RecordFilter(table.phase, table.tells, table.tell)


def open_output(output: QueuedOutput) -> None:
    """Open what an output needs on disk; on ConfigError nothing is left open."""
    try:
        output.open()
    except SpoolError as error:
        output.close(0.0)
        raise ConfigError([str(error)]) from error


def share_spool(first: QueuedOutput | None, second: QueuedOutput | None) -> bool:
    """Whether two outputs have the same spool file."""
    if isinstance(first, SpooledOutputQueue) and isinstance(second, SpooledOutputQueue):
        return first.spool.path == second.spool.path
    return False


def _remote_output(table: MqttConfig | WebhookConfig, sources: Sequence[str]) -> Output:
    if isinstance(table, MqttConfig):
        from streamdet.outputs.mqtt import MqttOutput

        password = _read_secret(table.password_file, "mqtt.password_file")
        try:
            return MqttOutput(table, password, sources)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError([f"mqtt.ca_file: {table.ca_file}: {reason}"]) from error
        except ValueError as error:
            raise ConfigError([f"mqtt: {error}"]) from error
    from streamdet.outputs.webhook import WebhookOutput

    signing_secret = _read_secret(table.secret_file, "webhook.secret_file")
    return WebhookOutput(table, _webhook_url(table), signing_secret)


def metrics_token(config: Config) -> str | None:
    """The token that /metrics and /readyz require."""
    return _read_secret(config.http.token_file, "http.token_file")


def web_token(config: Config) -> str | None:
    """The token that the review page requires."""
    return _read_secret(config.web and config.web.token_file, "web.token_file")


def open_storage(config: Config) -> EventStorage | None:
    """Open the event store and the clip folder, if they are configured."""
    from streamdet.daemon.event_storage import EventStorage

    if config.store is None:
        return None
    try:
        return EventStorage(config.store, config.clips)
    except (StoreError, ClipError) as error:
        raise ConfigError([str(error)]) from error


def check_secrets(config: Config) -> list[str]:
    """Read all files of secrets; returns what is wrong with them, one line each."""
    mqtt, webhook = config.mqtt, config.webhook
    readers: list[Callable[[], object]] = [
        lambda: metrics_token(config),
        lambda: web_token(config),
        lambda: _read_secret(mqtt and mqtt.password_file, "mqtt.password_file"),
        lambda: webhook and _webhook_url(webhook),
        lambda: _read_secret(webhook and webhook.secret_file, "webhook.secret_file"),
    ]
    faults: list[str] = []
    for read in readers:
        try:
            read()
        except ConfigError as error:
            faults += error.faults
    return faults


def _webhook_url(table: WebhookConfig) -> str:
    if table.url is not None:
        return table.url
    url = _read_secret(table.url_file, "webhook.url_file") or ""
    try:
        return checks.check_http_url(url)
    except ValueError as error:  # its message does not contain the URL, which may hold a secret
        raise ConfigError([f"webhook.url_file: {table.url_file}: {error}"]) from None


def _read_secret(path: str | None, key: str) -> str | None:
    return None if path is None else secret.read_secret(path, key)
