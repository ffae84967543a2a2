"""Replaces the configuration of a running daemon; restarts only the parts that have changed.

`apply_config` works in two steps. The first builds and opens everything new, and is the only one
that can fail: on an error it closes what it has opened. It does not touch the running parts, except
a server whose port a new one needs. It closes that server, and opens it again on an error; if that
fails too, it logs why. The second step swaps the parts.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config, SourceConfig
from streamdet.daemon import builders
from streamdet.daemon.builders import QueuedOutput
from streamdet.daemon.components import DaemonComponents, ReviewPage
from streamdet.daemon.event_storage import EventStorage
from streamdet.daemon.http import MetricsServer
from streamdet.daemon.log import DaemonLog
from streamdet.daemon.managed_source import ManagedSource
from streamdet.detection.stream_batch import StreamBatch
from streamdet.model.bundle import Bundle
from streamdet.pipeline.budget_threshold import BudgetSetup, BudgetThreshold

_TIMEOUT_S = 2.0
"""How long a replaced output may take to deliver what it has queued."""


@dataclass
class _NewParts:
    """What a configuration needs and the running parts do not have. Nothing of it is started.

    ``batch`` is None if the model stays. ``outputs`` has a key for each output that changes; its
    value is None for one that is removed.
    """

    config: Config
    bundle: Bundle
    batch: StreamBatch | None
    outputs: dict[str, QueuedOutput | None] = field(default_factory=dict)
    storage: EventStorage | None = None
    server: MetricsServer | None = None
    page: ReviewPage | None = None


def apply_config(components: DaemonComponents, config: Config) -> None:
    """Switch to ``config``. Raises ConfigError, and keeps the old one, if a part cannot be built.

    A source keeps running unless its own table or timeouts change. If only the model or its
    threshold changes, the stream stays open, and detection starts from its initial state.
    """
    if not config.sources:
        raise ConfigError(["sources: there are none"])
    with ExitStack() as undo:
        parts = _build(components, config, undo)
        undo.pop_all()
    _swap(components, parts)


def _build(components: DaemonComponents, config: Config, undo: ExitStack) -> _NewParts:
    """Build the new parts; ``undo`` closes them."""
    if faults := builders.check_secrets(config):
        raise ConfigError(faults)
    old, bundle = components.config, builders.load_configured_bundle(config)
    for source in config.sources:
        builders.build_background(config, bundle, source)
    parts = _NewParts(config, bundle, None)
    engine_keys = ("platform", "verify")
    if bundle.sha256 != components.bundle.sha256 or any(
        getattr(config, key) != getattr(old, key) for key in engine_keys
    ):
        parts.batch = StreamBatch(builders.build_engine(config, bundle))
        parts.batch.warm_up()
    for name in builders.OUTPUT_NAMES:
        key = builders.output_key(config, name)
        if key == builders.output_key(old, name):
            continue
        parts.outputs[name] = None
        if key is not None:
            parts.outputs[name] = output = components.create_output(name, config)
            undo.callback(output.close, 0.0)
    storage = components.storage
    if _storage_changed(old, config):
        storage = parts.storage = builders.open_storage(config)
        if storage is not None:
            undo.callback(storage.close, 0.0)
    if config.http != old.http:
        _build_server(components, parts, undo)
    if config.web != old.web or _storage_changed(old, config):
        _build_page(components, parts, storage)
    return parts


def _build_server(components: DaemonComponents, parts: _NewParts, undo: ExitStack) -> None:
    old = components.config
    if components.server is not None and _same_port(old.http.address, parts.config.http.address):
        components.server.close()
        components.server = None
        undo.callback(_restore_server, components)
    parts.server = components.create_server(parts.config)
    if parts.server is not None:
        undo.callback(parts.server.close)


def _restore_server(components: DaemonComponents) -> None:
    try:
        components.server = components.create_server(components.config)
    except ConfigError as error:  # another program took the port, or a file is missing
        components.log.emit("http_stopped", f"/metrics is no longer served: {error}", "error")
    if components.server is not None:
        components.server.start()


def _build_page(
    components: DaemonComponents, parts: _NewParts, storage: EventStorage | None
) -> None:
    """The last part to be built, so that nothing after it can fail."""
    old, new = components.config, parts.config
    running = components.page
    release = running is not None and _same_port(
        old.web.address if old.web else "", new.web.address if new.web else ""
    )
    if running is not None and release:
        running.close()
        components.page = None
    try:
        parts.page = components.create_page(new, storage)
    except ConfigError:
        if release:
            _restore_page(components)
        raise


def _restore_page(components: DaemonComponents) -> None:
    try:
        components.page = components.create_page(components.config, components.storage)
    except ConfigError as error:
        message = f"the review page is no longer served: {error}"
        components.log.emit("web_stopped", message, "error")
    components.start_page()


def _same_port(old: str, new: str) -> bool:
    """Whether a new server can only be bound once the old one has been closed."""
    return old.rpartition(":")[2] == new.rpartition(":")[2]


def _storage_changed(old: Config, new: Config) -> bool:
    return (old.store, old.clips) != (new.store, new.clips)


def _swap(components: DaemonComponents, parts: _NewParts) -> None:
    """Replace the running parts. Nothing here can fail."""
    old, new = components.config, parts.config
    if new.log != old.log:
        components.log.close()
        components.log = DaemonLog(new.log.format, new.log.repeat_s)
    if parts.batch is not None:
        for source in components.sources:
            ended = source.restart_pipeline(source.decision, source.budget)
            components.publish_detections(source, ended)
        components.use_model(parts.bundle, parts.batch, verify=new.verify)
    if new.background != old.background:
        components.save_backgrounds(components.sources)
        components.backgrounds.close()
        components.backgrounds = components.create_background_files(new)
    _swap_sources(components, new)  # first, so that their last events reach the old outputs
    _swap_outputs(components, parts.outputs)
    if new.http != old.http:
        if components.server is not None:
            components.server.close()
        components.server = parts.server
        if components.server is not None:
            components.server.start()
    page_changed = new.web != old.web or _storage_changed(old, new)
    if page_changed and components.page is not None:
        components.page.close()
    if _storage_changed(old, new):
        _swap_storage(components, parts)
    components.config = new
    if page_changed:
        components.page = parts.page
        components.start_page()
    restarted = [*parts.outputs, *(["model"] if parts.batch is not None else [])]
    names = ", ".join(source.name for source in components.sources)
    suffix = f"; restarted: {', '.join(restarted)}" if restarted else ""
    components.log.emit("reloaded", f"configuration reloaded; sources: {names}{suffix}")


def _swap_outputs(components: DaemonComponents, outputs: dict[str, QueuedOutput | None]) -> None:
    for name, output in outputs.items():
        if (replaced := components.outputs.pop(name, None)) is not None:
            components.close_output(replaced, _TIMEOUT_S)
        if output is not None:
            components.outputs[name] = output
            components.metrics.add_sink(name)
            output.start()


def _swap_storage(components: DaemonComponents, parts: _NewParts) -> None:
    if (queue := components.outputs.pop("store", None)) is not None:
        components.close_output(queue, _TIMEOUT_S)
    if (replaced := components.storage) is not None:
        for source in components.sources:
            if replaced.recorder is not None:
                replaced.recorder.abandon(source)
        replaced.close(_TIMEOUT_S)
    components.use_storage(parts.storage, parts.config)
    components.start_storage()


def _swap_sources(components: DaemonComponents, config: Config) -> None:
    removed = {source.name: source for source in components.sources}
    added = {source.name for source in config.sources} - removed.keys()
    sources: list[ManagedSource] = []
    for source_config in config.sources:
        decision = builders.build_decision(config, components.bundle, source_config)
        source = removed.get(source_config.name)
        if source is not None and _can_stay_open(components.config, config, source, source_config):
            setup = builders.build_background(config, components.bundle, source_config)
            if decision != source.decision or _is_changed(source.budget, setup):
                budget = _next_budget(components, source, setup)
                ended = source.restart_pipeline(decision, budget)
                components.publish_detections(source, ended)
            source.config = source_config
            del removed[source.name]
        else:
            source = components.create_source(config, source_config)
        sources.append(source)
    names = {source.name for source in sources}
    for name, source in removed.items():
        components.close_source(source)
        components.closed_counts.append(source.counts)
        if name not in names:
            components.metrics.remove_source(name)
    for name in added:
        components.metrics.add_source(name)
    components.sources = sources


def _is_changed(budget: BudgetThreshold, setup: BudgetSetup) -> bool:
    return (budget.setup.config, budget.setup.model) != (setup.config, setup.model)


def _next_budget(
    components: DaemonComponents, source: ManagedSource, setup: BudgetSetup
) -> BudgetThreshold:
    """The threshold for a changed budget. It keeps the background while the scores are the same."""
    if setup.config.fixed:  # not saved any more
        components.save_backgrounds([source])
    if source.budget.setup.model != setup.model:
        return components.load_background(source.name, setup)
    source.budget.change_budget(setup)
    return source.budget


def _can_stay_open(
    old: Config, new: Config, source: ManagedSource, source_config: SourceConfig
) -> bool:
    """Whether nothing but the threshold and ``required`` of a source has changed."""
    ignored = {
        "threshold": None, "operating_point": None, "false_alarms": None, "required": True,
    }  # fmt: skip
    same_table = source.config.model_copy(update=ignored) == source_config.model_copy(
        update=ignored
    )
    same_policy = source.policy == builders.build_retry_policy(new, source_config)
    same_buffer = (old.ring_s, old.silence_dbfs) == (new.ring_s, new.silence_dbfs)
    return same_table and same_policy and same_buffer
