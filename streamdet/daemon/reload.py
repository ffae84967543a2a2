"""A new configuration in place of the one that is in force: only what has changed begins anew."""

from __future__ import annotations

from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config
from streamdet.daemon import builders
from streamdet.daemon.components import Parts
from streamdet.daemon.log import Log
from streamdet.daemon.managed_source import Ear
from streamdet.detection.stream_batch import StreamBatch

_PATIENCE_S = 2.0


def apply(parts: Parts, new: Config) -> None:
    """Go over to ``new``; raises ConfigError, with nothing changed, where its parts can't be had.

    What can fail comes first: the model, thresholds, secrets, the address. A source whose table and
    patience are the same is not touched; where only the model or a threshold is another it goes on
    hearing, from a cold state.
    """
    if not new.sources:
        raise ConfigError(["sources: there is none"])
    old, bundle = parts.config, builders.bundle(new)
    other_model = bundle.sha256 != parts.bundle.sha256 or new.platform != old.platform
    for source in new.sources:
        builders.decision(new, bundle, source)
    batch = StreamBatch(builders.engine(new, bundle)) if other_model else None
    builders.token(new)
    boxes = [
        n for n in builders.OUTPUTS if builders.output_key(new, n) != builders.output_key(old, n)
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
        parts.log = Log(new.log.format, new.log.repeat_s)
    if batch is not None:
        batch.warm_up()
        for ear in parts.ears:
            parts.tell(ear, ear.renew(ear.decision))
        parts.take_model(bundle, batch)
    _sources(parts, new)
    parts.config = new
    anew = ", ".join([*boxes, *(["the model"] if other_model else [])])
    names = ", ".join(ear.name for ear in parts.ears)
    also = f"; begun anew: {anew}" if anew else ""
    parts.log.say("reloaded", f"configuration read anew; sources: {names}{also}")


def _sources(parts: Parts, new: Config) -> None:
    before = {ear.name: ear for ear in parts.ears}
    ears: list[Ear] = []
    for source in new.sources:
        ear = before.get(source.name)
        decision = builders.decision(new, parts.bundle, source)
        if ear is not None and _same(parts.config, new, ear, source.name):
            if decision != ear.decision:
                parts.tell(ear, ear.renew(decision))
            ear.source = source
            before.pop(source.name)
        else:
            ear = parts.new_ear(new, source)
        ears.append(ear)
    kept = {source.name for source in new.sources}
    for name, ear in before.items():
        parts.close_ear(ear)
        if name not in kept:
            parts.metrics.remove_source(name)
    for name in kept - {ear.name for ear in parts.ears}:
        parts.metrics.add_source(name)
    parts.ears = ears


def _same(old: Config, new: Config, ear: Ear, name: str) -> bool:
    """Whether a source can stay open: all but its thresholds is as it was."""
    source = next(s for s in new.sources if s.name == name)
    thresholds = {"threshold": None, "operating_point": None, "required": True}
    same = ear.source.model_copy(update=thresholds) == source.model_copy(update=thresholds)
    patience = builders.policy(old, ear.source) == builders.policy(new, source)
    return same and patience and (old.ring_s, old.silence_dbfs) == (new.ring_s, new.silence_dbfs)


def _outputs(parts: Parts, config: Config, names: list[str]) -> None:
    """Close these, and begin those of them that are wanted: a spool has one owner, so the old
    one goes first."""
    for name in names:
        box = parts.boxes.pop(name, None)
        if box is not None:
            box.close(_PATIENCE_S)
        if builders.output_key(config, name) is not None:
            parts.add_box(name, config).start()


def _evidence(parts: Parts, was: Config, new: Config) -> None:
    """The store, the clips and the page over them, where any of it is another."""
    kept = (was.store, was.clips) == (new.store, new.clips)
    if kept and was.web == new.web:
        return
    if parts.page is not None:
        parts.page.close()
        parts.page = None
    if not kept:
        if (box := parts.boxes.pop("store", None)) is not None:
            box.close(_PATIENCE_S)
        if parts.evidence is not None:
            parts.evidence.close(_PATIENCE_S)
        parts.add_evidence(new)
        parts.start_evidence()
    parts.page = parts.new_page(new)
    if parts.page is not None:
        parts.page.start()


def _http(parts: Parts, new: Config) -> None:
    if parts.server is not None:
        parts.server.close()
        parts.server = None
    try:
        parts.server = parts.new_server(new)
    except ConfigError:
        parts.server = parts.new_server(parts.config)
        raise
    finally:
        if parts.server is not None:
            parts.server.start()
