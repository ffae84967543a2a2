"""A new configuration in place of the one that is in force: only what has changed begins anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config
from streamdet.detect.batch import Batch
from streamdet.service import build
from streamdet.service.ear import Ear
from streamdet.service.log import Log

if TYPE_CHECKING:
    from streamdet.service.daemon import Daemon

_PATIENCE_S = 2.0


def apply(daemon: Daemon, new: Config) -> None:
    """Go over to ``new``; raises ConfigError, with nothing changed, where its parts can't be had.

    What can fail comes first: the model, thresholds, secrets, the address. A source whose table and
    patience are the same is not touched; where only the model or a threshold is another it goes on
    hearing, from a cold state.
    """
    if not new.sources:
        raise ConfigError(["sources: there is none"])
    old, bundle = daemon.config, build.bundle(new)
    other_model = bundle.sha256 != daemon.bundle.sha256 or new.platform != old.platform
    for source in new.sources:
        build.decision(new, bundle, source)
    batch = Batch(build.engine(new, bundle)) if other_model else None
    build.token(new)
    boxes = [n for n in build.OUTPUTS if build.output_key(new, n) != build.output_key(old, n)]
    try:
        _outputs(daemon, new, boxes)
        if new.http != old.http:
            _http(daemon, new)
    except ConfigError:
        _outputs(daemon, old, boxes)
        raise
    if new.log != old.log:
        daemon.log.close()
        daemon.log = Log(new.log.format, new.log.repeat_s)
    if batch is not None:
        batch.engine.warm_up()
        for ear in daemon.ears:
            daemon.tell(ear, ear.renew(ear.decision))
        daemon.take_model(bundle, batch)
    _sources(daemon, new)
    daemon.config = new
    changed = [*boxes, *(["model"] if other_model else [])]
    names = ", ".join(ear.name for ear in daemon.ears)
    daemon.log.say(
        "reloaded",
        f"configuration read anew; sources: {names}; changed: {', '.join(changed) or 'no output'}",
    )


def _sources(daemon: Daemon, new: Config) -> None:
    before = {ear.name: ear for ear in daemon.ears}
    ears: list[Ear] = []
    for source in new.sources:
        ear = before.get(source.name)
        decision = build.decision(new, daemon.bundle, source)
        if ear is not None and _same(daemon.config, new, ear, source.name):
            if decision != ear.decision:
                daemon.tell(ear, ear.renew(decision))
            ear.source = source
            before.pop(source.name)
        else:
            ear = daemon.new_ear(new, source)
        ears.append(ear)
    kept = {source.name for source in new.sources}
    for name, ear in before.items():
        daemon.close_ear(ear)
        if name not in kept:
            daemon.metrics.remove_source(name)
    for name in kept - {ear.name for ear in daemon.ears}:
        daemon.metrics.add_source(name)
    daemon.ears = ears


def _same(old: Config, new: Config, ear: Ear, name: str) -> bool:
    """Whether a source can stay open: all but its thresholds is as it was."""
    source = next(s for s in new.sources if s.name == name)
    thresholds = {"threshold": None, "operating_point": None, "required": True}
    same = ear.source.model_copy(update=thresholds) == source.model_copy(update=thresholds)
    patience = build.policy(old, ear.source) == build.policy(new, source)
    return same and patience and (old.ring_s, old.silence_dbfs) == (new.ring_s, new.silence_dbfs)


def _outputs(daemon: Daemon, config: Config, names: list[str]) -> None:
    """Close these, and begin those of them that are wanted: a spool has one owner, so the old
    one goes first."""
    for name in names:
        box = daemon.boxes.pop(name, None)
        if box is not None:
            box.close(_PATIENCE_S)
        if build.output_key(config, name) is not None:
            daemon.add_box(name, config).start()


def _http(daemon: Daemon, new: Config) -> None:
    if daemon.server is not None:
        daemon.server.close()
        daemon.server = None
    try:
        daemon.server = daemon.serve(new)
    except ConfigError:
        daemon.server = daemon.serve(daemon.config)
        raise
    finally:
        if daemon.server is not None:
            daemon.server.start()
