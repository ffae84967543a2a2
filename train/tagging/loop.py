"""The training loop of taggers; resumable from any checkpoint.

A run ends by its steps, by a loss, or by patience (`RunConfig`), and its summary says by which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from streamdet.model import tagger, tagger_bundle, vggish
from streamdet.model.config import Params
from train.audioset.batches import ClipBatch
from train.detector.freezing import freeze_layers
from train.detector.optimizer import update_average
from train.detector.parallel import BatchSharding
from train.detector.run import (
    TrainingRun,
    copy_to_host,
    load_ended_run,
    print_to_stderr,
    update_mean_loss,
)
from train.errors import TrainError
from train.tagging.clips import TaggerClips
from train.tagging.config import TaggerConfig
from train.tagging.teachers import BEST

SCORE = "map"
SHORTEST_PART_S = 3
"""The least seconds of either clip in a spliced one."""


class TaggerState(NamedTuple):
    """Everything that a checkpoint holds. ``average`` is the moving average of ``params``,
    ``loss`` that of the losses, over about 50 steps."""

    step: jax.Array
    params: Params
    average: Params
    optimizer: optax.OptState
    loss: jax.Array


def make_optimizer(config: TaggerConfig) -> optax.GradientTransformation:
    """Adam with gradients clipped by their global norm. The rate falls in steps, as in the
    YouTube-8M starter code, or warms up and falls in a cosine to zero."""
    if config.decay_steps:
        rate = optax.exponential_decay(
            config.learning_rate,
            config.decay_steps,
            config.decay_rate,
            config.decay_from,
            staircase=True,
        )
    else:
        rate = optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, config.warmup, config.steps
        )
    updates = optax.adamw(rate, weight_decay=config.weight_decay)
    clipped = optax.chain(optax.clip_by_global_norm(config.clip_norm), updates)
    return freeze_layers(config.frozen, clipped)


def create_state(config: TaggerConfig, start: Params | None = None) -> TaggerState:
    """The state before step 0, from the config's seed, with the weights of ``start`` if given. A
    head of other classes is replaced. Raises TrainError if the other shapes do not fit."""
    params = tagger.init_params(config.model, jax.random.key(config.seed))
    if start is not None:
        params = _merge_start_params(config, params, start)
    state = TaggerState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        average=params,
        optimizer=make_optimizer(config).init(params),
        loss=jnp.zeros(()),
    )
    # Copies: a step donates its state, so no array may be in it twice or belong to the caller.
    return jax.tree.map(jnp.array, state)


def _merge_start_params(config: TaggerConfig, fresh: Params, start: Params) -> Params:
    *trunk, head = tagger.layer_names(config.model)
    shapes, start_shapes = (jax.tree.map(np.shape, p) for p in (fresh, start))
    names = [name for group in trunk for name in group]
    if shapes.keys() != start_shapes.keys() or any(shapes[n] != start_shapes[n] for n in names):
        raise TrainError(
            f"{config.name}: the weights to begin from are of another network. Begin from a "
            "tagger with the shape of this config."
        )
    names += [name for name in head if shapes[name] == start_shapes[name]]
    return {name: start[name] if name in names else fresh[name] for name in fresh}


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(
    config: TaggerConfig, state: TaggerState, batch: ClipBatch
) -> tuple[TaggerState, jax.Array]:
    """One update; returns the new state and the loss: cross-entropy summed over the classes,
    averaged over the rows. The old state is donated: its arrays are deleted."""
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    mix_key, dropout_key, augment_key = jax.random.split(key, 3)
    x = vggish.dequantise(jnp.asarray(batch.frames))
    labels, lengths = jnp.asarray(batch.labels), jnp.asarray(batch.lengths)
    x, labels, lengths = augment_clips(config, augment_key, x, labels, lengths)
    if config.mixup:
        share = jax.random.beta(mix_key, config.mixup, config.mixup, (len(labels),))
        share = jnp.maximum(share, 1.0 - share)
        x = _mix_with_reversed(share[:, None, None], x)
        labels = _mix_with_reversed(share[:, None], labels)
        lengths = jnp.maximum(lengths, lengths[::-1])
    targets = jnp.maximum(labels, config.missing)
    network = tagger.build_tagger(config.model, config.dropout_in, config.dropout)

    def loss_of(params: Params) -> jax.Array:
        logits = tagger.apply(network, params, x, lengths, dropout_key)
        return jnp.mean(jnp.sum(optax.sigmoid_binary_cross_entropy(logits, targets), axis=-1))

    loss, gradient = jax.value_and_grad(loss_of)(state.params)
    update, optimizer = make_optimizer(config).update(gradient, state.optimizer, state.params)
    params: Any = optax.apply_updates(state.params, update)
    decay = jnp.minimum(config.average, (1.0 + state.step) / (10.0 + state.step))
    average = update_average(state.average, params, 1.0 - decay)
    mean_loss = update_mean_loss(state.step, state.loss, loss)
    return TaggerState(state.step + 1, params, average, optimizer, mean_loss), loss


def augment_clips(
    config: TaggerConfig, key: jax.Array, x: jax.Array, labels: jax.Array, lengths: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Cut and splice the clips of a batch at random, as the config says.

    ``x`` is (rows, seconds, 128) float32, ``labels`` (rows, classes), ``lengths`` (rows,). A cut
    clip is a run of its seconds; a spliced one continues as another clip and has the labels of
    both.
    """
    rows, seconds, _ = x.shape
    length_key, first_key, splice_key, cut_key = jax.random.split(key, 4)
    if config.shortest:
        cut_lengths = jax.random.randint(length_key, (rows,), config.shortest, seconds + 1)
        cut_lengths = jnp.minimum(cut_lengths, lengths)
        starts = lengths - cut_lengths + 1
        first = jnp.floor(jax.random.uniform(first_key, (rows,)) * starts).astype(jnp.int32)
        index = jnp.minimum(first[:, None] + jnp.arange(seconds), seconds - 1)
        x, lengths = jnp.take_along_axis(x, index[..., None], axis=1), cut_lengths
    if config.spliced:
        other_x, other_labels, other_lengths = (
            jnp.roll(y, rows // 4, axis=0) for y in (x, labels, lengths)
        )
        spliced = jax.random.bernoulli(splice_key, config.spliced, (rows,))
        last = seconds + 1 - SHORTEST_PART_S
        cut = jax.random.randint(cut_key, (rows,), SHORTEST_PART_S, last)
        cut = jnp.minimum(cut, lengths)
        after = jnp.arange(seconds) - cut[:, None]
        tail = jnp.take_along_axis(other_x, jnp.maximum(after, 0)[..., None], axis=1)
        joined = jnp.where((after >= 0)[..., None], tail, x)
        x = jnp.where(spliced[:, None, None], joined, x)
        labels = jnp.where(spliced[:, None], jnp.maximum(labels, other_labels), labels)
        lengths = jnp.where(spliced, jnp.minimum(seconds, cut + other_lengths), lengths)
    return x, labels, lengths


def _mix_with_reversed(share: jax.Array, x: jax.Array) -> jax.Array:
    """Mix each row with its counterpart in the reversed batch."""
    return share * x + (1.0 - share) * x[::-1]


def fit(
    config: TaggerConfig,
    records: Path,
    folder: Path,
    hours: float = float("inf"),
    report: Callable[[str], None] = print_to_stderr,
    start: Params | None = None,
    own: Path | None = None,
) -> dict[str, Any]:
    """Train until the config ends the run, or until the first checkpoint after ``hours``.

    Continues from the newest checkpoint in ``folder``; without one begins from ``start``, or
    from random weights. ``records`` and a user's ``own`` are folders of converted clips
    (`TaggerClips`). Returns the content of ``run.json``. An ended run is not continued.

    The folder gets what every run leaves (`train.detector.run`), ``best/`` with the tagger of the
    highest MAP on the held-out clips, and ``at-LOSS/`` with the weights when the loss first fell
    below each of ``config.keep_at``. The loss is read from the device at intervals
    (`TrainingRun.needs_loss`), not at every step.
    """
    if (summary := load_ended_run(folder, config)) is not None:
        return summary
    run = TrainingRun(folder, config, SCORE, highest=True, hours=hours, report=report)
    clips = TaggerClips(config, records, own, folder.parent)
    sharding = BatchSharding(config.batch)
    state = sharding.replicate_state(run.restore_state(create_state(config, start)))
    first = int(state.step)
    for step, batch in enumerate(clips.iter_batches(first), first + 1):
        state, _ = train_step(config, state, sharding.shard_batch(batch))
        if run.needs_loss(step):
            loss = float(state.loss)
            for to, about in run.iter_passed_levels(step, loss):
                _save_tagger(config, state.params, to, about)
            run.record_loss(step, loss)
        if run.needs_validation(step):
            metrics = clips.compute_metrics(copy_to_host(state.average))
            if run.record_validation(step, metrics):
                _save_tagger(config, state.average, folder / BEST, {"step": step})
        run.save_checkpoint(step, state)
        if run.should_stop(step):
            break
    return run.close(clips.describe())


def _save_tagger(config: TaggerConfig, params: Params, to: Path, about: dict[str, Any]) -> None:
    if jax.process_index() == 0:
        about = {"config": asdict(config), **about}
        tagger_bundle.save(to, config.name, config.model, copy_to_host(params), about)
