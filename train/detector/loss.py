"""The loss of detectors: frames, segments, bags, and a teacher's probabilities."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from train.data.labels import CONTEXT, GUNSHOT, LABELS
from train.data.mixing import Scene
from train.data.teacher import HOP_S as TEACHER_HOP_S
from train.detector.config import DetectorConfig

LONG_BAG_S = 2.0
"""Bags of this length or more also have a loss on their median frame."""
TEACHER_WINDOW_S = 0.96
MASKED_LOGIT = -30.0


def compute_loss(config: DetectorConfig, logits: jax.Array, scene: Scene) -> jax.Array:
    """The weighted sum of all parts, a scalar.

    ``logits`` is (streams, frames, labels) float32: the detector's own labels, then the
    teacher's classes. ``scene`` is a batch of scenes, stacked on the first axis.
    """
    own = logits[..., : len(LABELS)]
    targets, weights = jnp.asarray(scene.targets), jnp.asarray(scene.weights)
    loss = compute_frame_loss(config, own, targets, weights)
    gunshot, target, known = own[..., GUNSHOT], targets[..., GUNSHOT], weights[..., GUNSHOT] > 0.0
    if config.segment_weight:
        segment_loss = compute_segment_loss(gunshot, target, known, config.segment_frames)
        loss += config.segment_weight * segment_loss
    if config.bag_weight:
        bag_loss = compute_bag_loss(gunshot, jnp.asarray(scene.bag), config.frame_s)
        loss += config.bag_weight * bag_loss
    if config.teacher_weight and scene.teacher.shape[-1]:
        teacher_logits, probabilities = logits[..., len(LABELS) :], jnp.asarray(scene.teacher)
        teacher_loss = compute_teacher_loss(teacher_logits, probabilities, config.frame_s)
        loss += config.teacher_weight * teacher_loss
    return loss


def compute_frame_loss(
    config: DetectorConfig, logits: jax.Array, targets: jax.Array, weights: jax.Array
) -> jax.Array:
    """Weighted mean binary cross-entropy of ``(streams, frames, labels)``, a scalar."""
    weight = {"gunshot": config.gunshot_weight, **dict.fromkeys(CONTEXT, config.context_weight)}
    weights = weights * jnp.array([weight.get(label, 1.0) for label in LABELS])
    losses = optax.sigmoid_binary_cross_entropy(logits, targets)
    return jnp.sum(losses * weights) / jnp.maximum(1.0, jnp.sum(weights))


def compute_segment_loss(
    logits: jax.Array, targets: jax.Array, known: jax.Array, length: int
) -> jax.Array:
    """Cross-entropy of the highest of every ``length`` frames, a scalar. A peak raises an alarm,
    so peaks must be right. All arrays are ``(streams, frames)``; frames that are not ``known``
    do not count."""
    streams, count = logits.shape
    whole = count // length * length

    def split(x: jax.Array) -> jax.Array:
        return x[:, :whole].reshape(streams, -1, length)

    split_known = split(known)
    peak = jnp.max(jnp.where(split_known, split(logits), MASKED_LOGIT), axis=-1)
    losses = optax.sigmoid_binary_cross_entropy(peak, jnp.max(split(targets), axis=-1))
    counted = jnp.any(split_known, axis=-1)
    return jnp.sum(losses * counted) / jnp.maximum(1.0, jnp.sum(counted))


def compute_bag_loss(logits: jax.Array, bag: jax.Array, frame_s: float) -> jax.Array:
    """Cross-entropy of the highest frame of each bag, a scalar. A bag is a set of frames with a
    shot at an unknown time (multiple-instance learning, max pooling); ``bag`` is 1 in it, 0
    elsewhere, ``(streams, frames)``.

    In bags of 2 s or more the median frame is trained towards 0: no shot lasts for half of such
    a bag, and without this term the noise in a bag is learned as a shot.
    """
    inside = bag > 0.0
    count = jnp.sum(inside, axis=-1)
    ranked = jnp.sort(jnp.where(inside, logits, MASKED_LOGIT), axis=-1)
    middle = ranked.shape[-1] - 1 - count // 2
    median = jnp.take_along_axis(ranked, middle[:, None], axis=-1)[:, 0]
    losses = jax.nn.softplus(-ranked[:, -1]) * (count > 0)
    losses += jax.nn.softplus(median) * (count >= round(LONG_BAG_S / frame_s))
    return jnp.sum(losses) / bag.shape[0]


def compute_teacher_loss(logits: jax.Array, probabilities: jax.Array, frame_s: float) -> jax.Array:
    """Mean cross-entropy against the teacher's probabilities, a scalar.

    ``logits`` is (streams, frames, classes), ``probabilities`` (streams, windows, classes). Each
    window is compared with the frame in which it ends; NaN marks windows without probabilities.
    """
    window_ends_s = np.arange(probabilities.shape[1]) * TEACHER_HOP_S + TEACHER_WINDOW_S
    at_ends = logits[:, np.rint(window_ends_s / frame_s).astype(int) - 1]
    known = ~jnp.isnan(probabilities)
    targets = jnp.where(known, probabilities, 0.0)
    losses = optax.sigmoid_binary_cross_entropy(at_ends, targets)
    return jnp.sum(losses * known) / jnp.maximum(1.0, jnp.sum(known))
