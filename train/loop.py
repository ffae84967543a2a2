"""The training loop: a step, a checkpoint, a validation; resumable at any checkpoint.

Batches come from `grain`, each a function of (seed, step) alone, so a resumed run sees
exactly what an uninterrupted one would.
"""

from __future__ import annotations

import json
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from rich.console import Console

from streamdet.model import frontend, lstm
from train import metrics
from train.config import TrainConfig
from train.data.corpus import Corpus
from train.data.labels import CONTEXT, GUNSHOT
from train.data.loader import Batches
from train.data.mixing import Scene
from train.data.mixtures import Mixture, rare

log = Console(stderr=True, highlight=False)
COMMIT = "commit.txt"


class TrainState(NamedTuple):
    """All that a checkpoint holds: ``average`` is the moving average of ``params``."""

    step: jax.Array
    params: lstm.Params
    average: lstm.Params
    optimizer: optax.OptState
    carried: lstm.ModelState


def create_state(config: TrainConfig) -> TrainState:
    """The state before step 0, from the config's seed."""
    params = lstm.init_params(config.model, jax.random.key(config.seed))
    carried = lstm.init_state(config.model, config.batch)
    started = optimizer(config).init(params)
    return TrainState(jnp.zeros((), jnp.int32), params, params, started, carried)


def optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """AdamW on a warm-up and a cosine to zero, gradients clipped by their global norm."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, config.warmup, config.steps
    )
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(schedule, weight_decay=config.weight_decay),
    )


@partial(jax.jit, static_argnums=0)
def train_step(
    config: TrainConfig, state: TrainState, batch: Scene
) -> tuple[TrainState, jax.Array]:
    """One update on a batch of scenes stacked on their first axis; returns the loss."""
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    keep_key, dropout_key = jax.random.split(key)
    keep = jax.random.bernoulli(keep_key, config.carry_over, (config.batch,))
    start = jax.tree.map(
        lambda x: jnp.where(keep.reshape((-1,) + (1,) * (x.ndim - 1)), x, 0.0), state.carried
    )
    hearing = frontend.init(config.frontend, config.batch)
    _, frames = frontend.step(config.frontend, hearing, jnp.asarray(batch.samples))
    module = lstm.Detector(config.model, config.dropout)

    def loss_of(params: lstm.Params) -> tuple[jax.Array, lstm.ModelState]:
        carried, logits = lstm.apply(module, params, start, frames, dropout_key)
        targets, weights = jnp.asarray(batch.targets), jnp.asarray(batch.weights)
        return frame_loss(config, logits, targets, weights), carried

    (loss, carried), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    update, opt_state = optimizer(config).update(gradient, state.optimizer, state.params)
    params: Any = optax.apply_updates(state.params, update)
    decay = jnp.minimum(config.average, (1.0 + state.step) / (10.0 + state.step))
    average: Any = optax.incremental_update(params, state.average, 1.0 - decay)
    return TrainState(state.step + 1, params, average, opt_state, carried), loss


def frame_loss(
    config: TrainConfig, logits: jax.Array, targets: jax.Array, weights: jax.Array
) -> jax.Array:
    """Weighted mean binary cross-entropy of ``(streams, frames, labels)``, a scalar."""
    weight = {"gunshot": config.gunshot_weight, **dict.fromkeys(CONTEXT, config.context_weight)}
    weights = weights * jnp.array([weight.get(label, 1.0) for label in config.model.labels])
    losses = optax.sigmoid_binary_cross_entropy(logits, targets)
    return jnp.sum(losses * weights) / jnp.maximum(1.0, jnp.sum(weights))


@partial(jax.jit, static_argnums=0)
def score(config: TrainConfig, params: lstm.Params, samples: jax.Array) -> jax.Array:
    """Gunshot probabilities ``(streams, frames)`` of whole scenes, from a cold state."""
    streams = samples.shape[0]
    _, frames = frontend.step(config.frontend, frontend.init(config.frontend, streams), samples)
    start = lstm.init_state(config.model, streams)
    _, logits = lstm.step(config.model, params, start, frames)
    return jax.nn.sigmoid(logits[..., GUNSHOT])


def validate(config: TrainConfig, params: lstm.Params, mixtures: list[Mixture]) -> dict:
    """Best event F1 and error rate on fixed mixtures, by the benchmark's rules."""
    hop_s = config.frontend.hop * config.model.stride / config.frontend.sample_rate
    files = []
    for i in range(0, len(mixtures), 20):
        some = mixtures[i : i + 20]
        scores = np.asarray(score(config, params, np.stack([m.samples for m in some])))
        truths = [[(t.onset_s, t.offset_s) for t in m.truth] for m in some]
        files += list(zip(scores, truths, strict=True))
    rows = metrics.sweep(files, hop_s, metrics.thresholds_for(files))
    onsets = metrics.sweep(files, hop_s, metrics.thresholds_for(files), metrics.onset_match)
    best = min(rows, key=lambda r: r.error_rate)
    hours = len(mixtures) * 30 / 3600
    return {
        "error_rate": round(best.error_rate, 3),
        "f1": round(best.f1, 3),
        "onset_f1": round(max(r.f1 for r in onsets), 3),
        "recall_at_6": round(metrics.recall_at(rows, hours, 6.0), 3),
    }


def fit(config: TrainConfig, corpus: Path, folder: Path, workers: int = 1) -> TrainState:
    """Train to the config's last step, going on from the newest checkpoint in ``folder``.

    Beside the checkpoints ``log.jsonl`` has a row a validation, ``commit.txt`` the code that
    began the run, and ``best/`` the averaged weights that detected best on the val mixtures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / COMMIT).is_file():
        (folder / COMMIT).write_text(current_commit() + "\n")
    manager = ocp.CheckpointManager(
        (folder / "checkpoints").absolute(),
        options=ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False),
    )
    state = create_state(config)
    if manager.latest_step() is not None:
        restored: Any = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(state))
        state = restored
        log.print(f"going on from step {int(state.step)}")
    mixtures = rare(Corpus(corpus), "val", 17, 160, (-6.0, 0.0, 6.0))
    best = _best_so_far(folder)
    began, losses = time.monotonic(), []
    batches = Batches(corpus, config.mix, config.seed, config.batch)
    for batch in batches.from_step(int(state.step), config.steps, workers):
        state, loss = train_step(config, state, batch)
        losses.append(loss)
        step = int(state.step)
        if step % 50 == 0:
            rate = (time.monotonic() - began) / len(losses)
            mean = float(np.mean([float(x) for x in losses[-50:]]))
            log.print(f"step {step}/{config.steps}  loss {mean:.4f}  {rate:.3f} s a step")
        if step % config.checkpoint_every == 0 or step == config.steps:
            manager.save(step, args=ocp.args.StandardSave(state))
        if step % config.validate_every == 0 or step == config.steps:
            row = {"step": step, "seconds": round(time.monotonic() - began)}
            row |= validate(config, state.average, mixtures)
            log.print(json.dumps(row))
            with (folder / "log.jsonl").open("a") as sink:
                sink.write(json.dumps(row) + "\n")
            if row["error_rate"] <= best:
                best = row["error_rate"]
                _keep(state.average, folder)
    return state


def _best_so_far(folder: Path) -> float:
    path = folder / "log.jsonl"
    if not path.is_file():
        return float("inf")
    return min(json.loads(line)["error_rate"] for line in path.read_text().splitlines())


def _keep(params: lstm.Params, folder: Path) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((folder / "best").absolute(), params, force=True)


def current_commit() -> str:
    """The checkout's commit, marked where files differ from it."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
