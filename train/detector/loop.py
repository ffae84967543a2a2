"""The training loop: a step, a checkpoint, a validation; resumable at any checkpoint.

Batches come from `grain`, each a function of (seed, batch) alone, so a resumed run sees
exactly what an uninterrupted one would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from rich.console import Console

from streamdet.model import bundle as bundles
from streamdet.model import frontend, network
from streamdet.model.bundle import OperatingPoint
from streamdet.model.config import Params
from train.data.corpus import Corpus
from train.data.loader import SceneBatches
from train.data.mixing import Scene
from train.detector import loss, memory, mining, validation
from train.detector.config import TrainConfig
from train.detector.optimizer import optimizer
from train.detector.parallel import Spread
from train.detector.run import Run, checkpoints, ended, local, moving_loss, newest
from train.errors import TrainError

log = Console(stderr=True, highlight=False, soft_wrap=True)
SCORE = "miss_rate"
WIDEST_MASK = 12
"""Bands."""


class TrainState(NamedTuple):
    """All that a checkpoint holds: ``average`` is the moving average of ``params``, ``loss``
    that of the losses."""

    step: jax.Array
    params: Params
    average: Params
    optimizer: optax.OptState
    carried: network.NetworkState
    loss: jax.Array


def create_state(config: TrainConfig, start: Params | None = None) -> TrainState:
    """The state before step 0, from the config's seed; the weights those of ``start`` where
    given, whose head may lack the last labels. Raises TrainError where they do not fit."""
    params = network.init_params(config.model, jax.random.key(config.seed))
    if start is not None:
        params = _begun(config, params, start)
    carried = network.init_state(config.model, config.batch)
    started = optimizer(config).init(params)
    step, loss = jnp.zeros((), jnp.int32), jnp.zeros(())
    return TrainState(step, params, params, started, carried, loss)


def _begun(config: TrainConfig, fresh: Params, start: Params) -> Params:
    known = start["head"]["bias"].shape[0]
    old = {name: x[..., :known] for name, x in fresh["head"].items()}
    if jax.tree.map(np.shape, {**fresh, "head": old}) != jax.tree.map(np.shape, start):
        raise TrainError(
            f"{config.name}: the weights to begin from are of another network; begin from a run or "
            "a bundle of the config's own shape"
        )
    head = {
        name: jnp.concatenate([x, fresh["head"][name][..., known:]], axis=-1)
        for name, x in start["head"].items()
    }
    return jax.tree.map(jnp.asarray, {**start, "head": head})


@partial(jax.jit, static_argnums=0)
def features(config: TrainConfig, samples: jax.Array) -> jax.Array:
    """(streams, n) samples -> (streams, f, bands) log-mel frames, from a cold start."""
    hearing = frontend.init(config.frontend, samples.shape[0])
    return frontend.step(config.frontend, hearing, samples)[1]


@partial(jax.jit, static_argnums=0)
def train_step(
    config: TrainConfig, state: TrainState, frames: jax.Array, batch: Scene
) -> tuple[TrainState, jax.Array]:
    """One update on a batch of scenes, whose samples have become ``frames``; and the loss."""
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    keep_key, dropout_key, colour_key = jax.random.split(key, 3)
    keep = jax.random.bernoulli(keep_key, config.carry_over, (config.batch,))
    start = jax.tree.map(
        lambda x: jnp.where(keep.reshape((-1,) + (1,) * (x.ndim - 1)), x, 0.0), state.carried
    )
    turn = config.batch // 2 * (state.step % config.echo)
    frames, batch = jax.tree.map(lambda x: jnp.roll(x, turn, axis=0), (frames, batch))
    frames = recoloured(config, frames, colour_key)
    module = network.DetectorNetwork(config.model, config.dropout)

    def loss_of(params: Params) -> tuple[jax.Array, network.NetworkState]:
        carried, logits = network.apply(module, params, start, frames, dropout_key)
        return loss.total(config, logits, batch), carried

    (value, carried), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    update, opt_state = optimizer(config).update(gradient, state.optimizer, state.params)
    params: Any = optax.apply_updates(state.params, update)
    decay = jnp.minimum(config.average, (1.0 + state.step) / (10.0 + state.step))
    average: Any = optax.incremental_update(params, state.average, 1.0 - decay)
    recent = moving_loss(state.step, state.loss, value)
    return TrainState(state.step + 1, params, average, opt_state, carried, recent), value


def recoloured(config: TrainConfig, frames: jax.Array, key: jax.Array) -> jax.Array:
    """Log-mel frames through a random smooth equaliser and gain, one for each stream, some
    bands of some streams deaf (SpecAugment, Park et al., 2019): no batch comes twice alike."""
    shape_key, gain_key, mask_key = jax.random.split(key, 3)
    streams, most = frames.shape[0], config.recolour_db
    floor = (np.log(config.frontend.floor) - config.frontend.mean) / config.frontend.scale
    if most:
        points = jax.random.uniform(shape_key, (streams, 6), minval=-most, maxval=most)
        points += jax.random.uniform(gain_key, (streams, 1), minval=-6.0, maxval=6.0)
        at = jnp.linspace(0.0, 5.0, config.frontend.bands)
        db = jax.vmap(lambda p: jnp.interp(at, jnp.arange(6.0), p))(points)
        moved = frames + db[:, None] * (np.log(10.0) / 10.0 / config.frontend.scale)
        frames = jnp.where(frames > floor + 0.05, jnp.maximum(moved, floor), frames)
    if config.band_mask:
        odds, first, width = jax.random.uniform(mask_key, (3, streams, 1))
        first, width = first * config.frontend.bands, width * WIDEST_MASK
        band = jnp.arange(config.frontend.bands)
        deaf = (odds < config.band_mask) & (band >= first) & (band < first + width)
        frames = jnp.where(deaf[:, None], floor, frames)
    return frames


def fit(
    config: TrainConfig,
    folder_of_corpus: Path,
    folder: Path,
    workers: int = 1,
    hours: float = float("inf"),
    start: Params | None = None,
    own: Path | None = None,
) -> TrainState:
    """Train until the config says so, or for ``hours`` and to the checkpoint after them, going on
    from the newest checkpoint in ``folder``; without one from ``start``. ``own`` is a folder of
    a user's own prepared clips, of which ``config.mix.own_share`` is drawn. A run that has ended
    is not gone on with.

    Beside what every run leaves (`train.detector.run`) lie ``mined-N.json``, what alarmed at step N, and
    ``best/``, the averaged weights that detected best on the val scenes.
    """
    memory.keep_freed()
    corpus = Corpus(folder_of_corpus, own)
    config = with_teacher(config, corpus)
    over = ended(folder, config) is not None
    run = Run(folder, config, SCORE, highest=False, hours=hours, said=log.print)
    spread = Spread(config.batch)
    state = spread.state(run.state(create_state(config, start)))
    if over:
        return state
    scenes = validation.val_scenes(corpus)
    while not run.why:
        for frames, batch in _until_mining(config, folder_of_corpus, own, folder, state, workers):
            state, _ = train_step(config, state, *spread.batch((frames, batch)))
            step, loss = int(state.step), float(state.loss)
            for to, about in run.levels(step, loss):
                _keep_level(config, state, to, about)
            if run.stepped(step, loss) and run.validated(
                step, validation.validate(config, local(state.average), scenes)
            ):
                _keep(state.average, folder)
            if config.mine_every and step % config.mine_every == 0:
                found = mining.mine(config, local(state.average), corpus)
                (folder / f"mined-{step}.json").write_text(json.dumps(found))
                log.print(f"{len(found)} sounds mined")
            if run.over(step, state):
                run.close(corpus.describe())
                return state
    run.close(corpus.describe())
    return state


def _keep_level(config: TrainConfig, state: TrainState, to: Path, about: dict[str, Any]) -> None:
    """Write the weights of a loss as a bundle, a teacher's heads among them, uncalibrated."""
    if jax.process_index():
        return
    bundles.save(
        to,
        name=config.name,
        version=config.version,
        frontend=config.frontend,
        model=config.model,
        params=local(state.params),
        operating_points={"uncalibrated": OperatingPoint(0.5, {})},
        default_point="uncalibrated",
        about={"config": asdict(config), "data": [], **about},
    )


def with_teacher(config: TrainConfig, corpus: Corpus) -> TrainConfig:
    """The config with the teacher's classes as heads behind the detector's own."""
    if not config.teacher_weight:
        return config
    labels = config.model.labels + corpus.teacher.classes
    return replace(config, model=replace(config.model, labels=labels))


def chosen_params(config: TrainConfig, folder: Path) -> Params:
    """The mean of a run's averaged weights where they detected best and at its newest
    checkpoint: two far apart on one road are wrong in different places, and their mean is an
    ensemble in one network (Wortsman et al., *Model Soups*, ICML 2022).

    ``config`` has the teacher's heads, as `with_teacher` gives it. Raises TrainError for a run
    that has validated nothing.
    """
    if not (folder / "best").is_dir():
        raise TrainError(f"{folder}: no finished validation; run `python -m train fit` first")
    last = newest(checkpoints(folder), create_state(config)).average
    with ocp.StandardCheckpointer() as checkpointer:
        best = checkpointer.restore((folder / "best").absolute(), last)
    return jax.tree.map(lambda a, b: np.asarray((a + b) / 2), best, last)


def _until_mining(
    config: TrainConfig,
    corpus: Path,
    own: Path | None,
    folder: Path,
    state: TrainState,
    workers: int,
) -> Iterator[tuple[jax.Array, Scene]]:
    """A batch for every step until the next mining, each ``echo`` times over."""
    first, last, mined = int(state.step), config.steps, None
    if config.mine_every:
        mined_at = first // config.mine_every * config.mine_every
        last = min(last, mined_at + config.mine_every)
        mined = folder / f"mined-{mined_at}.json" if mined_at else None
    rows = config.batch // jax.process_count()
    first_row = jax.process_index() * rows
    frame = config.frontend.hop * config.model.stride
    batches = SceneBatches(corpus, config.mix, config.seed, rows, mined, own, first_row, frame)
    step = first
    for batch in batches.iter_batches(first // config.echo, -(-last // config.echo), workers):
        frames = features(config, jnp.asarray(batch.samples))
        batch = batch._replace(samples=np.zeros((rows, 0), np.float32))
        for _ in range(config.echo - step % config.echo):
            if step < last:
                yield frames, batch
                step += 1


def _keep(params: Params, folder: Path) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((folder / "best").absolute(), params, force=True)
