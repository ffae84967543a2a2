"""The taggers' training loop: a step, a validation, a checkpoint; resumable at any checkpoint.

A run ends by steps, by a loss, or by patience (`TaggerConfig`), and says by which.
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
from train.detector.freezing import leaving
from train.detector.parallel import Spread
from train.detector.run import Run, ended, local, moving_loss, to_stderr
from train.errors import TrainError
from train.tagging.clips import RunClips
from train.tagging.config import TaggerConfig
from train.tagging.teachers import BEST

SCORE = "map"
LEAST_OF_EACH = 3
"""Seconds that a spliced clip has of either."""


class TaggerState(NamedTuple):
    """All that a checkpoint holds: ``average`` is the moving average of ``params``, ``loss``
    that of the losses, over about 50 steps."""

    step: jax.Array
    params: Params
    average: Params
    optimizer: optax.OptState
    loss: jax.Array


def optimizer(config: TaggerConfig) -> optax.GradientTransformation:
    """Adam with the config's decay: in steps, as the YouTube-8M starter code does, or a warm-up
    and a cosine to zero; gradients clipped by their global norm."""
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
    moved = optax.adamw(rate, weight_decay=config.weight_decay)
    clipped = optax.chain(optax.clip_by_global_norm(config.clip_norm), moved)
    return leaving(config.frozen, clipped)


def create_state(config: TaggerConfig, start: Params | None = None) -> TaggerState:
    """The state before step 0, from the config's seed; the weights those of ``start`` where
    given, but for a head of other classes. Raises TrainError where they do not fit."""
    params = tagger.init_params(config.model, jax.random.key(config.seed))
    if start is not None:
        params = _begun(config, params, start)
    nothing = jnp.zeros(())
    return TaggerState(
        jnp.zeros((), jnp.int32), params, params, optimizer(config).init(params), nothing
    )


def _begun(config: TaggerConfig, fresh: Params, start: Params) -> Params:
    *trunk, head = tagger.layer_names(config.model)
    shapes, known = (jax.tree.map(np.shape, p) for p in (fresh, start))
    names = [name for group in trunk for name in group]
    if shapes.keys() != known.keys() or any(shapes[n] != known[n] for n in names):
        raise TrainError(f"{config.name}: the weights to begin from are of another network")
    kept = names + [name for name in head if shapes[name] == known[name]]
    return {name: start[name] if name in kept else fresh[name] for name in fresh}


@partial(jax.jit, static_argnums=0)
def train_step(
    config: TaggerConfig, state: TaggerState, batch: ClipBatch
) -> tuple[TaggerState, jax.Array]:
    """One update, and the loss: cross-entropy summed over the classes, averaged over the rows."""
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    mix_key, dropout_key, augment_key = jax.random.split(key, 3)
    x = vggish.dequantise(jnp.asarray(batch.frames))
    labels, lengths = jnp.asarray(batch.labels), jnp.asarray(batch.lengths)
    x, labels, lengths = augmented(config, augment_key, x, labels, lengths)
    if config.mixup:
        share = jax.random.beta(mix_key, config.mixup, config.mixup, (len(labels),))
        share = jnp.maximum(share, 1.0 - share)
        x = _between(share[:, None, None], x)
        labels, lengths = _between(share[:, None], labels), jnp.maximum(lengths, lengths[::-1])
    targets = jnp.maximum(labels, config.missing)
    network = tagger.build_tagger(config.model, config.dropout_in, config.dropout)

    def loss_of(params: Params) -> jax.Array:
        said = tagger.apply(network, params, x, lengths, dropout_key)
        return jnp.mean(jnp.sum(optax.sigmoid_binary_cross_entropy(said, targets), axis=-1))

    loss, gradient = jax.value_and_grad(loss_of)(state.params)
    update, opt_state = optimizer(config).update(gradient, state.optimizer, state.params)
    params: Any = optax.apply_updates(state.params, update)
    average: Any = params
    if config.average:
        decay = jnp.minimum(config.average, (1.0 + state.step) / (10.0 + state.step))
        average = optax.incremental_update(params, state.average, 1.0 - decay)
    recent = moving_loss(state.step, state.loss, loss)
    return TaggerState(state.step + 1, params, average, opt_state, recent), loss


def augmented(
    config: TaggerConfig, key: jax.Array, x: jax.Array, labels: jax.Array, lengths: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Features ``(rows, seconds, 128)``, labels and lengths of a batch, some of its clips only a
    run of their seconds, some going on as another clip does, with the labels of both."""
    rows, seconds, _ = x.shape
    length_key, first_key, splice_key, cut_key = jax.random.split(key, 4)
    if config.shortest:
        kept = jax.random.randint(length_key, (rows,), config.shortest, seconds + 1)
        kept = jnp.minimum(kept, lengths)
        free = lengths - kept + 1
        first = jnp.floor(jax.random.uniform(first_key, (rows,)) * free).astype(jnp.int32)
        at = jnp.minimum(first[:, None] + jnp.arange(seconds), seconds - 1)
        x, lengths = jnp.take_along_axis(x, at[..., None], axis=1), kept
    if config.spliced:
        other, others, their_lengths = (
            jnp.roll(y, rows // 4, axis=0) for y in (x, labels, lengths)
        )
        yes = jax.random.bernoulli(splice_key, config.spliced, (rows,))
        cut = jax.random.randint(cut_key, (rows,), LEAST_OF_EACH, seconds + 1 - LEAST_OF_EACH)
        cut = jnp.minimum(cut, lengths)
        behind = jnp.arange(seconds) - cut[:, None]
        tail = jnp.take_along_axis(other, jnp.maximum(behind, 0)[..., None], axis=1)
        joined = jnp.where((behind >= 0)[..., None], tail, x)
        x = jnp.where(yes[:, None, None], joined, x)
        labels = jnp.where(yes[:, None], jnp.maximum(labels, others), labels)
        lengths = jnp.where(yes, jnp.minimum(seconds, cut + their_lengths), lengths)
    return x, labels, lengths


def _between(share: jax.Array, x: jax.Array) -> jax.Array:
    return share * x + (1.0 - share) * x[::-1]


def fit(
    config: TaggerConfig,
    records: Path,
    folder: Path,
    hours: float = float("inf"),
    said: Callable[[str], None] = to_stderr,
    start: Params | None = None,
    own: Path | None = None,
) -> dict[str, Any]:
    """Train until the config says so, or for ``hours`` and to the checkpoint after them, going on
    from the newest checkpoint in ``folder``, or else from ``start``; returns what ``run.json``
    says. A run that has ended is not gone on with. ``records`` and a user's ``own`` are folders
    of converted clips (`RunClips`).

    Beside what every run leaves (`train.detector.run`) lie ``best/``, the tagger of the highest
    MAP on the held-out clips, and ``at-LOSS/``, the tagger of the weights when the loss first fell
    below each of ``config.keep_at``.
    """
    if (about := ended(folder, config)) is not None:
        return about
    run = Run(folder, config, SCORE, highest=True, hours=hours, said=said)
    clips = RunClips(config, records, own, folder.parent)
    spread = Spread(config.batch)
    state = spread.state(run.state(create_state(config, start)))
    for batch in clips.from_step(int(state.step)):
        state, _ = train_step(config, state, spread.batch(batch))
        step, loss = int(state.step), float(state.loss)
        for to, about in run.levels(step, loss):
            _keep(config, state.params, to, about)
        if run.stepped(step, loss) and run.validated(step, clips.figures(local(state.average))):
            _keep(config, state.average, folder / BEST, {"step": step})
        if run.over(step, state):
            break
    return run.close(clips.about())


def _keep(config: TaggerConfig, params: Params, to: Path, about: dict[str, Any]) -> None:
    if jax.process_index() == 0:
        about = {"config": asdict(config), **about}
        tagger_bundle.save(to, config.name, config.model, local(params), about)
