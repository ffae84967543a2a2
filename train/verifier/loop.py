"""The training loop of verifiers; resumable from any checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

from streamdet.model import frontend, verifier
from streamdet.model.config import Params
from train.data.corpus import Corpus
from train.data.scene import Scene
from train.data.scene_store import SceneStore
from train.data.stored_batches import StoredBatches
from train.data.teacher import count_windows
from train.detector.augmentation import recolour_frames
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
from train.verifier.config import VerifierTrainingConfig
from train.verifier.validation import make_val_set, validate_verifier

LABELS_FILE = "labels.json"
CROP_FRAMES = 12
"""Windows begin at multiples of 12 frames, 0.48 s: there the teachers' steps begin too."""
TICK_FRAMES = 2


class VerifierState(NamedTuple):
    """Everything that a checkpoint holds."""

    step: jax.Array
    params: Params
    average: Params
    optimizer: optax.OptState
    loss: jax.Array


def create_verifier_state(config: VerifierTrainingConfig) -> VerifierState:
    """The state before step 0, from the config's seed."""
    params = verifier.init_params(config.model, jax.random.key(config.seed))
    state = VerifierState(
        jnp.zeros((), jnp.int32), params, params, make_optimizer(config).init(params), jnp.zeros(())
    )
    return jax.tree.map(jnp.array, state)


def cut_windows(
    config: VerifierTrainingConfig, frames: jax.Array, scene: Scene, key: jax.Array
) -> tuple[jax.Array, Scene]:
    """Cut a window at random out of each scene and its log-mel frames, and out of what the teachers
    answered. Frames within ``config.margin`` of the ends get the weight 0."""
    window, stride, rows = config.model.window, config.model.stride, frames.shape[0]
    places = (scene.targets.shape[1] - window) // CROP_FRAMES + 1
    starts = jax.random.randint(key, (rows,), 0, places) * CROP_FRAMES

    def cut(x: Any, start: jax.Array, length: int) -> Any:
        x = jnp.asarray(x)
        if not x.shape[1]:
            return x
        slices = jax.vmap(lambda row, at: jax.lax.dynamic_slice_in_dim(row, at, length))
        return slices(x, start)

    inside = jnp.arange(window)
    counted = (inside >= config.margin) & (inside < window - config.margin)
    teacher_rows = count_windows(window * config.frame_s)
    scene = Scene(
        samples=np.zeros((rows, 0), np.float32),
        targets=cut(scene.targets, starts, window),
        weights=cut(scene.weights, starts, window) * counted[:, None],
        bag=np.zeros((rows, window), np.float32),
        teacher=cut(scene.teacher, starts // CROP_FRAMES, teacher_rows),
        posterior=cut(scene.posterior, starts, window),
        features=cut(scene.features, starts // TICK_FRAMES, window // TICK_FRAMES),
    )
    return cut(frames, starts * stride, window * stride), scene


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_verifier_step(
    config: VerifierTrainingConfig, state: VerifierState, scene: Scene
) -> tuple[VerifierState, jax.Array]:
    """One update on a batch of scenes; returns the new state and the loss."""
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    cut_key, drop_key, colour_key = jax.random.split(key, 3)
    samples = jnp.asarray(scene.samples)
    front = frontend.init(config.frontend, samples.shape[0])
    frames = frontend.step(config.frontend, front, samples)[1]
    frames, window = cut_windows(config, frames, scene, cut_key)
    frames = recolour_frames(config, frames, colour_key)
    module = verifier.VerifierNetwork(config.model, config.dropout)

    def loss_of(params: Params) -> jax.Array:
        logits = verifier.apply(module, params, frames, drop_key)
        return compute_loss(config, logits, window, config.frame_s)

    loss, gradient = jax.value_and_grad(loss_of)(state.params)
    update, optimizer = make_optimizer(config).update(gradient, state.optimizer, state.params)
    params: Any = optax.apply_updates(state.params, update)
    decay = jnp.minimum(config.average, (1.0 + state.step) / (10.0 + state.step))
    average = update_average(state.average, params, 1.0 - decay)
    mean_loss = update_mean_loss(state.step, state.loss, loss)
    return VerifierState(state.step + 1, params, average, optimizer, mean_loss), loss


def fit_verifier(
    config: VerifierTrainingConfig,
    scenes: Path,
    corpus: Corpus,
    folder: Path,
    hours: float = float("inf"),
) -> VerifierState:
    """Train until the config ends the run, or until the first checkpoint after ``hours``.

    Continues from the newest checkpoint in ``folder``. ``scenes`` is the folder of the sets of
    stored scenes. Returns the last state. ``best/`` holds the averaged weights of the best
    validation.
    """
    store = SceneStore(scenes / config.scenes)
    batches = StoredBatches(store, config.seed, config.batch, taught=is_taught(config))
    config = add_taught_labels(config, batches)
    if load_ended_run(folder, config) is not None:
        return load_newest_state(folder, create_verifier_state(config))
    run = TrainingRun(
        folder, config, "miss_rate", highest=False, hours=hours, report=print_to_stderr
    )
    state = run.restore_state(create_verifier_state(config))
    (folder / LABELS_FILE).write_text(json.dumps(config.model.labels))
    val = make_val_set(config, corpus)
    step = int(state.step)
    for scene in batches.iter_batches(step, config.steps):
        state, _ = train_verifier_step(config, state, scene)
        step += 1
        if run.needs_loss(step):
            run.record_loss(step, float(state.loss))
        if run.needs_validation(step):
            metrics = validate_verifier(config, copy_to_host(state.average), val)
            if run.record_validation(step, metrics):
                with ocp.StandardCheckpointer() as checkpointer:
                    checkpointer.save((folder / "best").absolute(), state.average, force=True)
        run.save_checkpoint(step, state)
        if run.should_stop(step):
            break
    run.close({"scenes": len(store)})
    return state


def is_taught(config: VerifierTrainingConfig) -> bool:
    """Whether any part of the loss needs a teacher."""
    return bool(config.teacher_weight or config.posterior_weight or config.feature_weight)


def add_taught_labels(
    config: VerifierTrainingConfig, batches: StoredBatches
) -> VerifierTrainingConfig:
    """The config with outputs for the teachers' classes and features, after the own labels."""
    labels = config.model.labels + batches.labels
    return replace(config, model=replace(config.model, labels=labels))


def load_verifier_params(config: VerifierTrainingConfig, folder: Path) -> Params:
    """The averaged weights of the newest checkpoint, with the outputs of all labels that the run
    trained with."""
    labels = tuple(json.loads((folder / LABELS_FILE).read_text()))
    config = replace(config, model=replace(config.model, labels=labels))
    return copy_to_host(load_newest_state(folder, create_verifier_state(config)).average)
