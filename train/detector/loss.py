"""The loss of detectors: frames, segments, bags, and a teacher's probabilities."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from train.data.labels import CONTEXT, GUNSHOT, LABELS
from train.data.scene import Scene
from train.data.teacher import HOP_S, WINDOW_S
from train.detector.config import LossConfig

LONG_BAG_S = 2.0
"""Bags of this length or more also have a loss on their median frame."""
MASKED_LOGIT = -30.0


def compute_loss(config: LossConfig, logits: jax.Array, scene: Scene, frame_s: float) -> jax.Array:
    """The weighted sum of all parts, a scalar.

    ``logits`` is (streams, frames, n) float32, frames ``frame_s`` seconds apart: the detector's
    own labels, then the teacher's classes, then its features. ``scene`` is a batch of scenes,
    stacked on the first axis.
    """
    own = logits[..., : len(LABELS)]
    targets, weights = jnp.asarray(scene.targets), jnp.asarray(scene.weights)
    loss = compute_frame_loss(config, own, targets, weights)
    gunshot, target, known = own[..., GUNSHOT], targets[..., GUNSHOT], weights[..., GUNSHOT] > 0.0
    if config.segment_weight:
        segment_loss = compute_segment_loss(gunshot, target, known, config.segment_frames)
        loss += config.segment_weight * segment_loss
    if config.bag_weight:
        bag_loss = compute_bag_loss(gunshot, jnp.asarray(scene.bag), frame_s)
        loss += config.bag_weight * bag_loss
    classes, dims = scene.teacher.shape[-1], scene.features.shape[-1]
    if config.teacher_weight and classes:
        teacher_logits = logits[..., len(LABELS) : len(LABELS) + classes]
        teacher_loss = compute_teacher_loss(teacher_logits, jnp.asarray(scene.teacher), frame_s)
        loss += config.teacher_weight * teacher_loss
    if config.posterior_weight and scene.posterior.shape[-1]:
        posterior_loss = compute_posterior_loss(
            gunshot, jnp.asarray(scene.posterior), config.posterior_delay
        )
        loss += config.posterior_weight * posterior_loss
    if config.feature_weight and dims:
        features = jnp.asarray(scene.features)
        feature_loss = compute_feature_loss(logits[..., len(LABELS) + classes :], features)
        loss += config.feature_weight * feature_loss
    return loss


def compute_posterior_loss(logits: jax.Array, teacher: jax.Array, delay: int) -> jax.Array:
    """Mean cross-entropy of a teacher's and the student's gunshot probabilities, a scalar (Hinton
    et al., *Distilling the Knowledge in a Neural Network*, 2015).

    Both arrays are (streams, frames) logits. A causal student answers ``delay`` frames after its
    teacher, which knows what follows.
    """
    count = logits.shape[1] - delay
    probabilities = jax.nn.sigmoid(teacher[:, :count])
    losses = optax.sigmoid_binary_cross_entropy(logits[:, delay:], probabilities)
    return jnp.mean(losses)


def compute_feature_loss(outputs: jax.Array, features: jax.Array) -> jax.Array:
    """Mean squared error against a teacher's features, a scalar (Romero et al., *FitNets*, 2015).

    ``outputs`` is (streams, frames, dims), ``features`` (streams, ticks, dims) of unit variance;
    each tick is compared with the mean of its frames.
    """
    streams, ticks, dims = features.shape
    per_tick = outputs.shape[1] // ticks
    means = outputs[:, : ticks * per_tick].reshape(streams, ticks, per_tick, dims).mean(axis=2)
    return jnp.mean(jnp.square(means - features))


def compute_frame_loss(
    config: LossConfig, logits: jax.Array, targets: jax.Array, weights: jax.Array
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
    window_ends_s = np.arange(probabilities.shape[1]) * HOP_S + WINDOW_S
    at_ends = logits[:, np.rint(window_ends_s / frame_s).astype(int) - 1]
    known = ~jnp.isnan(probabilities)
    targets = jnp.where(known, probabilities, 0.0)
    losses = optax.sigmoid_binary_cross_entropy(at_ends, targets)
    return jnp.sum(losses * known) / jnp.maximum(1.0, jnp.sum(known))
