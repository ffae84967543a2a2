"""A new configuration in place of the one that is in force: only what has changed begins anew."""

from __future__ import annotations

from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config
from streamdet.daemon import builders
from streamdet.daemon.components import DaemonComponents
from streamdet.daemon.log import DaemonLog
from streamdet.daemon.managed_source import ManagedSource
from streamdet.detection.stream_batch import StreamBatch

_PATIENCE_S = 2.0


def apply_config(parts: DaemonComponents, new: Config) -> None:
    """Go over to ``new``; raises ConfigError, with nothing changed, where its parts can't be had.

    What can fail comes first: the model, thresholds, secrets, the address. A source whose table and
    patience are the same is not touched; where only the model or a threshold is another it goes on
    hearing, from a cold state.
    """
    if not new.sources:
        raise ConfigError(["sources: there is none"])
    old, bundle = parts.config, builders.load_configured_bundle(new)
    other_model = bundle.sha256 != parts.bundle.sha256 or new.platform != old.platform
    for source in new.sources:
        builders.build_decision(new, bundle, source)
    batch = StreamBatch(builders.build_engine(new, bundle)) if other_model else None
    builders.metrics_token(new)
    boxes = [
        n
        for n in builders.OUTPUT_NAMES
        if builders.output_key(new, n) != builders.output_key(old, n)
    ]
    builders.web_token(new)
    try:
        _outputs(parts, new, boxes)
        _evidence(parts, old, new)
        if new.http != old.http:
            _http(parts, new)
    except ConfigError:
        _outputs(parts, old, boxes)
        _evidence(parts, new, old)
        raise
    if new.log != old.log:
        parts.log.close()
        parts.log = DaemonLog(new.log.format, new.log.repeat_s)
    if batch is not None:
        batch.warm_up()
        for ear in parts.sources:
            parts.publish_detections(ear, ear.restart_pipeline(ear.decision))
        parts.use_model(bundle, batch)
    _sources(parts, new)
    parts.config = new
    anew = ", ".join([*boxes, *(["the model"] if other_model else [])])
    names = ", ".join(ear.name for ear in parts.sources)
    also = f"; begun anew: {anew}" if anew else ""
    parts.log.emit("reloaded", f"configuration read anew; sources: {names}{also}")


def _sources(parts: DaemonComponents, new: Config) -> None:
    before = {ear.name: ear for ear in parts.sources}
    ears: list[ManagedSource] = []
    for source in new.sources:
        ear = before.get(source.name)
        decision = builders.build_decision(new, parts.bundle, source)
        if ear is not None and _same(parts.config, new, ear, source.name):
            if decision != ear.decision:
                parts.publish_detections(ear, ear.restart_pipeline(decision))
            ear.config = source
            before.pop(source.name)
        else:
            ear = parts.create_source(new, source)
        ears.append(ear)
    kept = {source.name for source in new.sources}
    for name, ear in before.items():
        parts.close_source(ear)
        if name not in kept:
            parts.metrics.remove_source(name)
    for name in kept - {ear.name for ear in parts.sources}:
        parts.metrics.add_source(name)
    parts.sources = ears


def _same(old: Config, new: Config, ear: ManagedSource, name: str) -> bool:
    """Whether a source can stay open: all but its thresholds is as it was."""
    source = next(s for s in new.sources if s.name == name)
    thresholds = {"threshold": None, "operating_point": None, "required": True}
    same = ear.config.model_copy(update=thresholds) == source.model_copy(update=thresholds)
    patience = builders.build_retry_policy(old, ear.config) == builders.build_retry_policy(
        new, source
    )
    return same and patience and (old.ring_s, old.silence_dbfs) == (new.ring_s, new.silence_dbfs)


def _outputs(parts: DaemonComponents, config: Config, names: list[str]) -> None:
    """Close these, and begin those of them that are wanted: a spool has one owner, so the old
    one goes first."""
    for name in names:
        box = parts.outputs.pop(name, None)
        if box is not None:
            box.close(_PATIENCE_S)
        if builders.output_key(config, name) is not None:
            parts.add_output(name, config).start()


def _evidence(parts: DaemonComponents, was: Config, new: Config) -> None:
    """The store, the clips and the page over them, where any of it is another."""
    kept = (was.store, was.clips) == (new.store, new.clips)
    if kept and was.web == new.web:
        return
    if parts.page is not None:
        parts.page.close()
        parts.page = None
    if not kept:
        if (box := parts.outputs.pop("store", None)) is not None:
            box.close(_PATIENCE_S)
        if parts.storage is not None:
            parts.storage.close(_PATIENCE_S)
        parts.add_storage(new)
        parts.start_storage()
    parts.page = parts.create_page(new)
    if parts.page is not None:
        parts.page.start()


def _http(parts: DaemonComponents, new: Config) -> None:
    if parts.server is not None:
        parts.server.close()
        parts.server = None
    try:
        parts.server = parts.create_server(new)
    except ConfigError:
        parts.server = parts.create_server(parts.config)
        raise
    finally:
        if parts.server is not None:
            parts.server.start()
