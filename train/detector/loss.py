"""What a detector is trained for: frames, seconds, bags and a teacher's opinion."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from train.data.labels import CONTEXT, GUNSHOT, LABELS
from train.data.mixing import Scene
from train.detector.config import TrainConfig

LONG_BAG = 50
"""Frames of 40 ms."""


def total(config: TrainConfig, logits: jax.Array, scene: Scene) -> jax.Array:
    """The weighted sum of all parts, a scalar.

    ``logits`` is (streams, frames, labels) float32, the detector's own labels first, the
    teacher's classes behind them; ``scene`` is a batch, stacked on the first axis.
    """
    own = logits[..., : len(LABELS)]
    loss = frames(config, own, jnp.asarray(scene.targets), jnp.asarray(scene.weights))
    gunshot, target = own[..., GUNSHOT], jnp.asarray(scene.targets)[..., GUNSHOT]
    asked = jnp.asarray(scene.weights)[..., GUNSHOT] > 0.0
    if config.segment_weight:
        loss += config.segment_weight * segments(gunshot, target, asked, config.segment_frames)
    if config.bag_weight:
        loss += config.bag_weight * bags(gunshot, jnp.asarray(scene.bag))
    if config.teacher_weight and scene.teacher.shape[-1]:
        opinion = teacher(logits[..., len(LABELS) :], jnp.asarray(scene.teacher))
        loss += config.teacher_weight * opinion
    return loss


def frames(
    config: TrainConfig, logits: jax.Array, targets: jax.Array, weights: jax.Array
) -> jax.Array:
    """Weighted mean binary cross-entropy of ``(streams, frames, labels)``, a scalar."""
    weight = {"gunshot": config.gunshot_weight, **dict.fromkeys(CONTEXT, config.context_weight)}
    weights = weights * jnp.array([weight.get(label, 1.0) for label in LABELS])
    losses = optax.sigmoid_binary_cross_entropy(logits, targets)
    return jnp.sum(losses * weights) / jnp.maximum(1.0, jnp.sum(weights))


def segments(logits: jax.Array, targets: jax.Array, asked: jax.Array, length: int) -> jax.Array:
    """Cross-entropy of the highest of every ``length`` frames: an alarm is raised by a peak,
    so peaks are what must be right. Frames that nobody asks about raise none."""
    streams, count = logits.shape
    whole = count // length * length

    def cut(x: jax.Array) -> jax.Array:
        return x[:, :whole].reshape(streams, -1, length)

    known = cut(asked)
    peak = jnp.max(jnp.where(known, cut(logits), -30.0), axis=-1)
    losses = optax.sigmoid_binary_cross_entropy(peak, jnp.max(cut(targets), axis=-1))
    counted = jnp.any(known, axis=-1)
    return jnp.sum(losses * counted) / jnp.maximum(1.0, jnp.sum(counted))


def bags(logits: jax.Array, bag: jax.Array) -> jax.Array:
    """Cross-entropy of the highest frame of each bag, in which a shot is somewhere
    (multiple-instance learning, max pooling), and of the median frame of bags of 2 s and more:
    no shot lasts for half of them, and without it a bag's noise becomes the shot."""
    inside = bag > 0.0
    count = jnp.sum(inside, axis=-1)
    ranked = jnp.sort(jnp.where(inside, logits, -30.0), axis=-1)
    middle = ranked.shape[-1] - 1 - count // 2
    median = jnp.take_along_axis(ranked, middle[:, None], axis=-1)[:, 0]
    losses = jax.nn.softplus(-ranked[:, -1]) * (count > 0)
    losses += jax.nn.softplus(median) * (count >= LONG_BAG)
    return jnp.sum(losses) / bag.shape[0]


def teacher(logits: jax.Array, opinions: jax.Array) -> jax.Array:
    """Mean cross-entropy against the tagger's probabilities ``(streams, windows, classes)``,
    at the frame in which each of its windows ends; it was not asked where they are NaN."""
    ends = (jnp.arange(opinions.shape[1]) * 0.48 + 0.96) / 0.04
    heard = logits[:, ends.astype(int) - 1]
    asked = ~jnp.isnan(opinions)
    losses = optax.sigmoid_binary_cross_entropy(heard, jnp.where(asked, opinions, 0.0))
    return jnp.sum(losses * asked) / jnp.maximum(1.0, jnp.sum(asked))
