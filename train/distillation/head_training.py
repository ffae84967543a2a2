"""Training of a teacher head on stored scenes that the taggers have answered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

from streamdet.model.config import Params
from train.data.scene import Scene, pool_to_model_frames
from train.data.scene_store import SceneStore
from train.detector.loss import compute_loss
from train.detector.optimizer import make_optimizer, update_average
from train.detector.run import (
    TrainingRun,
    copy_to_host,
    load_ended_run,
    load_newest_state,
    print_to_stderr,
    update_mean_loss,
)
from train.distillation.config import TICK_S, TeacherHeadConfig
from train.distillation.head_network import (
    GROUPS,
    FeatureBatch,
    FeatureScale,
    TeacherHead,
    apply_head,
    measure_scale,
)
from train.distillation.recordings import AnsweredRecording, measure_miss_rate, score_recordings

SCALE_SCENES = 256
"""Scenes that the mean and scale of the features are measured on."""
FRAMES_PER_TICK = 2


class HeadState(NamedTuple):
    """Everything that a checkpoint holds; ``scale`` is measured once, before step 0."""

    step: jax.Array
    params: Params
    average: Params
    optimizer: optax.OptState
    scale: FeatureScale
    loss: jax.Array


def create_head_state(config: TeacherHeadConfig, store: SceneStore) -> HeadState:
    """The state before step 0, from the config's seed."""
    rng = np.random.default_rng(config.seed)
    scenes = rng.choice(len(store), min(SCALE_SCENES, len(store)), replace=False)
    features = read_features(store, scenes)
    variables: Any = jax.jit(TeacherHead(config).init)(
        jax.random.key(config.seed), jax.tree.map(lambda x: jnp.zeros((1, *x.shape[1:])), features)
    )
    params = variables["params"]
    state = HeadState(
        jnp.zeros((), jnp.int32),
        params,
        params,
        make_optimizer(config).init(params),
        measure_scale([features]),
        jnp.zeros(()),
    )
    return jax.tree.map(jnp.array, state)


def read_features(store: SceneStore, scenes: np.ndarray) -> FeatureBatch:
    """The features of some scenes as they are stored, float16."""
    return FeatureBatch(*(np.stack([store.read(g, i) for i in scenes]) for g in GROUPS))


def read_batch(store: SceneStore, scenes: np.ndarray) -> tuple[FeatureBatch, Scene]:
    """Features and targets of some scenes, the targets in ticks."""
    targets, weights, bags = [], [], []
    for i in scenes:
        target, weight = (store.read(n, i).astype(np.float32) for n in ("targets", "weights"))
        target, weight = pool_to_model_frames(target, weight, FRAMES_PER_TICK)
        bag = store.read("bag", i)[: len(target) * FRAMES_PER_TICK].astype(np.float32)
        targets.append(target)
        weights.append(weight)
        bags.append(bag.reshape(-1, FRAMES_PER_TICK).max(axis=1))
    empty, none = np.zeros((len(scenes), 0), np.float32), np.zeros((len(scenes), 0, 0), np.float32)
    scene = Scene(empty, np.stack(targets), np.stack(weights), np.stack(bags), none, empty, none)
    return read_features(store, scenes), scene


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_head_step(
    config: TeacherHeadConfig, state: HeadState, features: FeatureBatch, scene: Scene
) -> tuple[HeadState, jax.Array]:
    """One update on a batch; returns the new state and the loss."""
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)

    def loss_of(params: Params) -> jax.Array:
        logits = apply_head(config, params, state.scale, features, key)
        return compute_loss(config, logits, scene, TICK_S)

    loss, gradient = jax.value_and_grad(loss_of)(state.params)
    update, optimizer = make_optimizer(config).update(gradient, state.optimizer, state.params)
    params: Any = optax.apply_updates(state.params, update)
    decay = jnp.minimum(config.average, (1.0 + state.step) / (10.0 + state.step))
    average = update_average(state.average, params, 1.0 - decay)
    mean_loss = update_mean_loss(state.step, state.loss, loss)
    state = HeadState(state.step + 1, params, average, optimizer, state.scale, mean_loss)
    return state, loss


def fit_head(
    config: TeacherHeadConfig,
    scenes: Path,
    val: list[AnsweredRecording],
    folder: Path,
    hours: float = float("inf"),
) -> HeadState:
    """Train until the config ends the run, or until the first checkpoint after ``hours``.

    Continues from the newest checkpoint in ``folder``. Validates on ``val``. Returns the last
    state. ``best/`` holds the averaged weights of the best validation.
    """
    store = SceneStore(scenes / config.scenes)
    if load_ended_run(folder, config) is not None:
        return load_newest_state(folder, create_head_state(config, store))
    run = TrainingRun(
        folder, config, "miss_rate", highest=False, hours=hours, report=print_to_stderr
    )
    state = run.restore_state(create_head_state(config, store))
    step, stop = int(state.step), bool(run.end_reason)
    for features, scene in _iter_batches(config, store, step):
        if stop:
            break
        state, _ = train_head_step(config, state, features, scene)
        step += 1
        if run.needs_loss(step):
            run.record_loss(step, float(state.loss))
        if run.needs_validation(step):
            scores = score_recordings(config, state.average, state.scale, val)
            if run.record_validation(step, measure_miss_rate(val, scores)):
                with ocp.StandardCheckpointer() as checkpointer:
                    best = {"params": state.average, "scale": state.scale}
                    checkpointer.save((folder / "best").absolute(), best, force=True)
        run.save_checkpoint(step, state)
        stop = run.should_stop(step)
    run.close({"scenes": len(store)})
    return state


def load_head(config: TeacherHeadConfig, store: SceneStore, folder: Path) -> HeadState:
    """The newest state of a run, with the averaged weights as its ``params``."""
    state = load_newest_state(folder, create_head_state(config, store))
    return copy_to_host(state._replace(params=state.average))


def _iter_batches(
    config: TeacherHeadConfig, store: SceneStore, first: int
) -> Iterator[tuple[FeatureBatch, Scene]]:
    """The batch of every step from ``first`` on; each pass over the scenes is a permutation."""
    per_pass = len(store) // config.batch
    step = first
    while True:
        order = np.random.default_rng([config.seed, step // per_pass]).permutation(len(store))
        start = step % per_pass * config.batch
        yield read_batch(store, order[start : start + config.batch])
        step += 1
