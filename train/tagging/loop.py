"""The taggers' training loop: a step, a validation, a checkpoint; resumable at any checkpoint.

A run ends by steps, by a loss, or by patience (`TaggerConfig`), and says by which.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

from train import journal
from train.audioset import metrics
from train.audioset.batches import Batch, Batches, in_order
from train.audioset.store import Store
from train.commit import current_commit
from train.failure import TrainError
from train.journal import Journal
from train.tagging import bundle, models
from train.tagging.config import TaggerConfig
from train.tagging.models import Params
from train.tagging.scoring import AT_ONCE, scored

SCORE = "map"
LOSS_OVER = 50
LOSS_EVERY = 50


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
            config.learning_rate, config.decay_steps, config.decay_rate, staircase=True
        )
    else:
        rate = optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, config.warmup, config.steps
        )
    moved = optax.adamw(rate, weight_decay=config.weight_decay)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), moved)


def create_state(config: TaggerConfig) -> TaggerState:
    """The state before step 0, from the config's seed."""
    params = models.init_params(config.model, jax.random.key(config.seed))
    nothing = jnp.zeros(())
    return TaggerState(
        jnp.zeros((), jnp.int32), params, params, optimizer(config).init(params), nothing
    )


@partial(jax.jit, static_argnums=0)
def train_step(
    config: TaggerConfig, state: TaggerState, batch: Batch
) -> tuple[TaggerState, jax.Array]:
    """One update, and the loss: cross-entropy summed over the classes, averaged over the rows."""
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    mix_key, dropout_key = jax.random.split(key)
    x = models.features(jnp.asarray(batch.frames))
    labels, lengths = jnp.asarray(batch.labels), jnp.asarray(batch.lengths)
    if config.mixup:
        share = jax.random.beta(mix_key, config.mixup, config.mixup, (len(labels),))
        share = jnp.maximum(share, 1.0 - share)
        x = _between(share[:, None, None], x)
        labels, lengths = _between(share[:, None], labels), jnp.maximum(lengths, lengths[::-1])
    targets = jnp.maximum(labels, config.missing)
    tagger = models.module(config.model, config.dropout_in, config.dropout)

    def loss_of(params: Params) -> jax.Array:
        said = models.apply(tagger, params, x, lengths, dropout_key)
        return jnp.mean(jnp.sum(optax.sigmoid_binary_cross_entropy(said, targets), axis=-1))

    loss, gradient = jax.value_and_grad(loss_of)(state.params)
    update, opt_state = optimizer(config).update(gradient, state.optimizer, state.params)
    params: Any = optax.apply_updates(state.params, update)
    decay = jnp.minimum(config.average, (1.0 + state.step) / (10.0 + state.step))
    average: Any = optax.incremental_update(params, state.average, 1.0 - decay)
    recent = jnp.where(state.step == 0, loss, state.loss + (loss - state.loss) / LOSS_OVER)
    return TaggerState(state.step + 1, params, average, opt_state, recent), loss


def _between(share: jax.Array, x: jax.Array) -> jax.Array:
    return share * x + (1.0 - share) * x[::-1]


def split(store: Store, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the clips to train on and of those held out, by the hash of their id."""
    held = store.hashes >= np.uint64(min(2**64 - 1, int((1.0 - share) * 2**64)))
    return np.flatnonzero(~held), np.flatnonzero(held)


def fit(
    config: TaggerConfig,
    folder_of_store: Path,
    folder: Path,
    hours: float = float("inf"),
    said: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train until the config says so, or for ``hours`` and to the checkpoint after them, going
    on from the newest checkpoint in ``folder``; returns what ``run.json`` says. A run that has
    ended is not gone on with.

    Beside the checkpoints lie the run's `train.journal`; ``best/``, the averaged weights of the
    highest MAP on the held-out clips; ``at-LOSS/``, a tagger of the weights when the loss first
    fell below each of ``config.keep_at``; and at the end ``run.json``: why it ended, the figures
    of the last and the best weights, config, seed, commit, data and time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (ended := journal.concluded(folder)) is not None:
        return ended
    store = Store(folder_of_store)
    ours, held = split(store, config.validation)
    made = Batches(
        store, ours, config.batch, config.model.classes, config.seed,
        by_class=round(config.balanced_share * config.batch),
    )  # fmt: skip
    manager = ocp.CheckpointManager(
        (folder / "checkpoints").absolute(),
        options=ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False),
    )
    state = create_state(config)
    if manager.latest_step() is not None:
        restored: Any = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(state))
        state = restored
        said(f"going on from step {int(state.step)}")
    log = Journal(folder, int(state.step))
    began, why = time.monotonic(), ""
    for batch in made.from_step(int(state.step), config.steps):
        state, _ = train_step(config, state, batch)
        step, loss = int(state.step), float(state.loss)
        if step % LOSS_EVERY == 0:
            log.add({"step": step, "loss": round(loss, 5)})
            said(f"step {step}  loss {loss:.4f}")
        _keep_levels(config, state, folder, step, loss)
        if loss < config.until_loss:
            why = f"a loss of {loss:.4f}"
        elif step == config.steps:
            why = "the last step"
        if why or step % config.validate_every == 0:
            log.add(_validated(config, state, store, held, step, time.monotonic() - began))
            said(json.dumps(log.rows[-1]))
            rows = log.validations(SCORE)
            if rows[-1][SCORE] >= max(r[SCORE] for r in rows):
                _keep(state.average, folder)
            why = why or _patience(config, rows)
        if why or step % config.checkpoint_every == 0:
            manager.save(step, args=ocp.args.StandardSave(state))
            if why or time.monotonic() - began > hours * 3600:
                break
    log.close()
    return _summary(config, store, log.validations(SCORE), why, folder)


def _keep_levels(
    config: TaggerConfig, state: TaggerState, folder: Path, step: int, loss: float
) -> None:
    for level in config.keep_at:
        to = folder / f"at-{level:g}"
        if loss < level and not _kept_before(to, step):
            about = {"step": step, "loss": round(loss, 5), "seed": config.seed}
            bundle.save(to, f"{config.name} at a loss of {level:g}", config.model,
                        jax.tree.map(np.asarray, state.params), about)  # fmt: skip


def _kept_before(tagger: Path, step: int) -> bool:
    """Whether it is there already, and not from behind the checkpoint that a run went on from."""
    card = tagger / "card.json"
    return card.is_file() and json.loads(card.read_text())["step"] < step


def _validated(
    config: TaggerConfig,
    state: TaggerState,
    store: Store,
    held: np.ndarray,
    step: int,
    seconds: float,
) -> dict[str, Any]:
    batches = in_order((store[n] for n in held), AT_ONCE, config.model.classes)
    figures = metrics.all_figures(*scored(config.model, state.average, batches))
    return {"step": step, "seconds": round(seconds), **_rounded(figures)}


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def _patience(config: TaggerConfig, rows: list[dict[str, Any]]) -> str:
    best = max(range(len(rows)), key=lambda i: rows[i][SCORE])
    waited = len(rows) - 1 - best
    return f"{waited} validations without a better MAP" if 0 < config.patience <= waited else ""


def _keep(params: Params, folder: Path) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((folder / "best").absolute(), params, force=True)


def best_params(config: TaggerConfig, folder: Path) -> Params:
    """The weights of the highest MAP on the held-out clips, as numpy arrays."""
    like = models.init_params(config.model, jax.random.key(0))
    with ocp.StandardCheckpointer() as checkpointer:
        return jax.tree.map(np.asarray, checkpointer.restore((folder / "best").absolute(), like))


def _summary(
    config: TaggerConfig, store: Store, rows: list[dict[str, Any]], why: str, folder: Path
) -> dict[str, Any]:
    summary = {
        "ended_by": why or "its time; run it again to go on",
        "config": asdict(config),
        "seed": config.seed,
        "commit": current_commit(),
        "data": {k: store.about[k] for k in ("source", "clips", "sha256")},
        "device": jax.devices()[0].device_kind,
        "last": rows[-1] if rows else None,
        "best": max(rows, key=lambda r: r[SCORE]) if rows else None,
    }
    return journal.conclude(folder, summary) if why else summary


def export(config: TaggerConfig, folder: Path, to: Path) -> dict[str, Any]:
    """Write the best weights of an ended run as a tagger's bundle; returns what ``run.json`` says.
    Raises TrainError where the run has not ended."""
    run = journal.concluded(folder)
    if run is None:
        raise TrainError(f"{folder}: no ended run; `python -m train fit` goes on with it")
    about = {
        "licence": "Apache-2.0",
        "data_licence": "AudioSet embeddings, Google, CC BY 4.0",
        **{key: run[key] for key in ("config", "seed", "commit", "data", "ended_by")},
        "held_out": run["best"],
    }
    bundle.save(to, config.name, config.model, best_params(config, folder), about)
    return run
