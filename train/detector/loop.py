"""The training loop of detectors; resumable from any checkpoint.

Batches come from `grain`. Each is a function of (seed, batch number) alone, so a resumed run
sees exactly the batches of an uninterrupted one.
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
from train.data.scene import Scene
from train.data.scene_store import SceneStore
from train.data.stored_batches import StoredBatches
from train.detector import validation
from train.detector.augmentation import recolour_frames
from train.detector.config import DetectorConfig
from train.detector.loss import compute_loss
from train.detector.mining import mine_hard_negatives
from train.detector.optimizer import make_optimizer, update_average
from train.detector.parallel import BatchSharding
from train.detector.run import (
    TrainingRun,
    copy_to_host,
    load_ended_run,
    load_newest_state,
    update_mean_loss,
)
from train.errors import TrainError

log = Console(stderr=True, highlight=False, soft_wrap=True)
SCORE = "miss_rate"
BEST = "best"
LABELS_FILE = "labels.json"
DEFAULT_SCENES = Path(".cache/scenes")


class DetectorState(NamedTuple):
    """Everything that a checkpoint holds. ``average`` is the moving average of ``params``,
    ``carried`` the recurrent state in which the last step ended, ``loss`` the moving average of
    the losses."""

    step: jax.Array
    params: Params
    average: Params
    optimizer: optax.OptState
    carried: network.NetworkState
    loss: jax.Array


def create_state(config: DetectorConfig, start: Params | None = None) -> DetectorState:
    """The state before step 0, from the config's seed, with the weights of ``start`` if given.
    The head of ``start`` may lack the last labels. Raises TrainError if its shapes do not fit."""
    params = network.init_params(config.model, jax.random.key(config.seed))
    if start is not None:
        params = _merge_start_params(config, params, start)
    state = DetectorState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        average=params,
        optimizer=make_optimizer(config).init(params),
        carried=network.init_state(config.model, config.batch),
        loss=jnp.zeros(()),
    )
    # Copies: a step donates its state, so no array may be in it twice or belong to the caller.
    return jax.tree.map(jnp.array, state)


def _merge_start_params(config: DetectorConfig, fresh: Params, start: Params) -> Params:
    known = start["head"]["bias"].shape[0]
    head = {name: x[..., :known] for name, x in fresh["head"].items()}
    if jax.tree.map(np.shape, {**fresh, "head": head}) != jax.tree.map(np.shape, start):
        raise TrainError(
            f"{config.name}: the weights to begin from are of another network. Begin from a run "
            "or a bundle with the shape of this config."
        )
    head = {
        name: jnp.concatenate([x, fresh["head"][name][..., known:]], axis=-1)
        for name, x in start["head"].items()
    }
    return {**start, "head": head}


@partial(jax.jit, static_argnums=0)
def compute_features(config: DetectorConfig, samples: jax.Array) -> jax.Array:
    """Log-mel frames of samples, from a cold start: (streams, n) -> (streams, frames, bands)."""
    state = frontend.init(config.frontend, samples.shape[0])
    return frontend.step(config.frontend, state, samples)[1]


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(
    config: DetectorConfig, state: DetectorState, frames: jax.Array, batch: Scene
) -> tuple[DetectorState, jax.Array]:
    """One update on a batch of scenes, whose samples have become ``frames``; returns the new
    state and the loss. The old state is donated: its arrays are deleted."""
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    carry_key, dropout_key, colour_key = jax.random.split(key, 3)
    carry = jax.random.bernoulli(carry_key, config.carry_over, (config.batch,))
    start = jax.tree.map(
        lambda x: jnp.where(carry.reshape((-1,) + (1,) * (x.ndim - 1)), x, 0.0), state.carried
    )
    shift = config.batch // 2 * (state.step % config.echo)
    frames, batch = jax.tree.map(lambda x: jnp.roll(x, shift, axis=0), (frames, batch))
    frames = recolour_frames(config, frames, colour_key)
    module = network.DetectorNetwork(config.model, config.dropout)

    def loss_of(params: Params) -> tuple[jax.Array, network.NetworkState]:
        carried, logits = network.apply(module, params, start, frames, dropout_key)
        return compute_loss(config, logits, batch, config.frame_s), carried

    (loss, carried), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    update, optimizer = make_optimizer(config).update(gradient, state.optimizer, state.params)
    params: Any = optax.apply_updates(state.params, update)
    decay = jnp.minimum(config.average, (1.0 + state.step) / (10.0 + state.step))
    average = update_average(state.average, params, 1.0 - decay)
    mean_loss = update_mean_loss(state.step, state.loss, loss)
    return DetectorState(state.step + 1, params, average, optimizer, carried, mean_loss), loss


def fit(
    config: DetectorConfig,
    corpus_folder: Path,
    folder: Path,
    workers: int = 1,
    hours: float = float("inf"),
    start: Params | None = None,
    own: Path | None = None,
    scenes: Path | None = None,
) -> DetectorState:
    """Train until the config ends the run, or until the first checkpoint after ``hours``.

    Continues from the newest checkpoint in ``folder``; without one begins from ``start``, or
    from random weights. ``own`` is a folder of a user's own prepared clips, drawn with
    probability ``config.mix.own_share``. ``scenes`` is the folder of the sets of stored scenes.
    Returns the last state. An ended run is not continued.

    The folder gets what every run leaves (`train.detector.run`), ``mined-N.json`` with the clips
    that raised alarms at step N, and ``best/`` with the averaged weights of the best validation.
    The loss is read from the device at intervals (`TrainingRun.needs_loss`), not at every step.
    """
    corpus = Corpus(corpus_folder, own)
    stored = _open_stored_scenes(config, scenes)
    config = add_teacher_heads(config, corpus.teacher.classes if stored is None else stored.labels)
    if load_ended_run(folder, config) is not None:
        return load_newest_state(folder, create_state(config))
    run = TrainingRun(folder, config, SCORE, highest=False, hours=hours, report=log.print)
    sharding = BatchSharding(config.batch)
    state = sharding.replicate_state(run.restore_state(create_state(config, start)))
    (folder / LABELS_FILE).write_text(json.dumps(config.model.labels))
    val = validation.make_val_scenes(corpus)
    step, stop = int(state.step), bool(run.end_reason)
    while not stop:
        if stored is None:
            batches = _iter_batches_until_mining(config, corpus_folder, own, folder, step, workers)
        else:
            batches = _iter_stored_batches(config, stored, step)
        for frames, batch in batches:
            state, _ = train_step(config, state, *sharding.shard_batch((frames, batch)))
            step += 1
            if run.needs_loss(step):
                loss = float(state.loss)
                for to, about in run.iter_passed_levels(step, loss):
                    _save_level(config, state, to, about)
                run.record_loss(step, loss)
            if run.needs_validation(step):
                metrics = validation.validate(config, copy_to_host(state.average), val)
                if run.record_validation(step, metrics):
                    _save_best(state.average, folder)
            if config.mine_every and step % config.mine_every == 0:
                mined = mine_hard_negatives(config, copy_to_host(state.average), corpus)
                (folder / f"mined-{step}.json").write_text(json.dumps(mined))
                log.print(f"{len(mined)} sounds mined")
            run.save_checkpoint(step, state)
            stop = run.should_stop(step)
            if stop:
                break
    run.close(corpus.describe())
    return state


def add_teacher_heads(config: DetectorConfig, labels: tuple[str, ...]) -> DetectorConfig:
    """The config with an output for each of a teacher's ``labels``, after the detector's own."""
    if not (config.teacher_weight or config.scenes):
        return config
    return replace(config, model=replace(config.model, labels=config.model.labels + labels))


def load_mean_params(config: DetectorConfig, folder: Path) -> Params:
    """The mean of two sets of averaged weights of a run: of its best validation, and of its
    newest checkpoint. They make different errors, and their mean is an ensemble in one network
    (Wortsman et al., *Model Soups*, ICML 2022).

    It has the outputs of all labels that the run trained with. Raises TrainError if the run has not
    validated yet.
    """
    if not (folder / BEST).is_dir():
        raise TrainError(f"{folder}: no finished validation. Run `python -m train fit` first.")
    labels = tuple(json.loads((folder / LABELS_FILE).read_text()))
    config = replace(config, model=replace(config.model, labels=labels))
    last = load_newest_state(folder, create_state(config)).average
    with ocp.StandardCheckpointer() as checkpointer:
        best = checkpointer.restore((folder / BEST).absolute(), last)
    return jax.tree.map(lambda a, b: np.asarray((a + b) / 2), best, last)


def _open_stored_scenes(config: DetectorConfig, scenes: Path | None) -> StoredBatches | None:
    if not config.scenes:
        return None
    taught = config.teacher_weight or config.posterior_weight or config.feature_weight
    hosts = (jax.process_index(), jax.process_count())
    store = SceneStore((scenes or DEFAULT_SCENES) / config.scenes)
    return StoredBatches(store, config.seed, config.batch, taught=bool(taught), hosts=hosts)


def _iter_stored_batches(
    config: DetectorConfig, stored: StoredBatches, first: int
) -> Iterator[tuple[jax.Array, Scene]]:
    """The batch of every step from ``first`` on, each ``echo`` times."""
    step = first
    for batch in stored.iter_batches(first // config.echo, -(-config.steps // config.echo)):
        frames, batch = _compute_frames(config, batch)
        for _ in range(config.echo - step % config.echo):
            if step < config.steps:
                yield frames, batch
                step += 1


def _compute_frames(config: DetectorConfig, batch: Scene) -> tuple[jax.Array, Scene]:
    frames = compute_features(config, jnp.asarray(batch.samples))
    return frames, batch._replace(samples=np.zeros((len(batch.samples), 0), np.float32))


def _iter_batches_until_mining(
    config: DetectorConfig,
    corpus: Path,
    own: Path | None,
    folder: Path,
    first: int,
    workers: int,
) -> Iterator[tuple[jax.Array, Scene]]:
    """The batch of every step from ``first`` until the next mining, each ``echo`` times."""
    last, mined = config.steps, None
    if config.mine_every:
        mined_at = first // config.mine_every * config.mine_every
        last = min(last, mined_at + config.mine_every)
        mined = folder / f"mined-{mined_at}.json" if mined_at else None
    rows = config.batch // jax.process_count()
    batches = SceneBatches(
        corpus,
        config.mix,
        config.seed,
        rows,
        mined,
        own,
        first_row=jax.process_index() * rows,
        frame=config.frame,
    )
    step = first
    for batch in batches.iter_batches(first // config.echo, -(-last // config.echo), workers):
        frames, batch = _compute_frames(config, batch)
        for _ in range(config.echo - step % config.echo):
            if step < last:
                yield frames, batch
                step += 1


def _save_level(config: DetectorConfig, state: DetectorState, to: Path, about: dict) -> None:
    """Save the weights at a loss as an uncalibrated bundle, with the teacher's heads."""
    if jax.process_index():
        return
    bundles.save(
        to,
        name=config.name,
        version=config.version,
        frontend=config.frontend,
        model=config.model,
        params=copy_to_host(state.params),
        operating_points={"uncalibrated": OperatingPoint(0.5, {})},
        default_point="uncalibrated",
        about={"config": asdict(config), "data": [], **about},
    )


def _save_best(params: Params, folder: Path) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((folder / BEST).absolute(), params, force=True)
