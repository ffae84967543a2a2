"""What the training loops share: checkpoints, the journal, when a run ends, and its summary.

The folder of a run holds ``checkpoints/``, the journal (`train.detector.journal`) and, once the
run has ended, ``run.json``: why it ended, config, seed, commits, data, and the metrics of its
best and last validation. That of an adaptation also holds ``inputs.json``: the hashes of what it
was made from.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from train.detector import journal
from train.detector.commit import read_commit
from train.detector.config import RunConfig
from train.detector.journal import Journal
from train.errors import TrainError

LOSS_OVER = 50
"""Steps that the loss is averaged over, about."""
LOG_EVERY = 50
"""Steps between two losses in the journal."""
READ_EVERY = 10
"""The most steps between two reads of the loss. A read waits for the device, so this also limits
how many steps and batches are queued."""
COMMITS, INPUTS = "commit.txt", "inputs.json"
OUT_OF_TIME = "its time limit; run the same command again to continue"

State = TypeVar("State")
Tree = TypeVar("Tree")


def print_to_stderr(line: str) -> None:
    """Print a line of progress; stdout is for results."""
    print(line, file=sys.stderr, flush=True)


def update_mean_loss(step: jax.Array, mean: jax.Array, loss: jax.Array) -> jax.Array:
    """The moving average of the losses after one more; at step 0 the loss itself."""
    return jnp.where(step == 0, loss, mean + (loss - mean) / LOSS_OVER)


def count_safe_steps(loss: float, levels: Iterable[float]) -> int:
    """The number of steps, 1 to READ_EVERY, after which the mean loss has to be read again.

    Losses are not negative, so `update_mean_loss` lowers the mean by at most a factor of
    1 - 1 / LOSS_OVER a step. Before the returned number of steps it can't fall below any of
    ``levels`` that it has not passed, so the step that passes one is always read.
    """
    ahead = max((level for level in levels if 0.0 < level <= loss), default=0.0)
    if not ahead:
        return READ_EVERY
    steps = math.floor(math.log(ahead / loss) / math.log(1.0 - 1.0 / LOSS_OVER))
    return max(1, min(READ_EVERY, steps))


class TrainingRun:
    """A training run in its folder, new or resumed, that has not ended (`load_ended_run`).

    ``score`` names the metric by which validations are compared; the ``highest`` or the lowest
    is the best. The run stops at the first checkpoint after ``hours``. ``report`` receives lines
    of progress. ``end_reason`` is empty until the run has ended.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        score: str,
        *,
        highest: bool,
        hours: float,
        report: Callable[[str], None],
    ) -> None:
        self.folder, self.config, self.hours, self.report = folder, config, hours, report
        self.score, self._sign = score, 1.0 if highest else -1.0
        self._writable = jax.process_index() == 0
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoints = open_checkpoints(folder)
        self._start_time, self._earlier_s = time.monotonic(), 0
        self._levels = (config.until_loss, *config.keep_at)
        self._next_read = 0
        self.end_reason = ""

    def restore_state(self, fresh: State) -> State:
        """The state of the newest checkpoint, or ``fresh`` without one. Opens the journal."""
        step = self._checkpoints.latest_step()
        if step is not None:
            fresh = _restore_newest(self._checkpoints, fresh)
            self.report(f"continuing from step {step}")
        if self._writable:
            record_commit(self.folder)
        self._journal = Journal(self.folder, step or 0, writable=self._writable)
        self._next_read = (step or 0) + 1
        if (step or 0) >= self.config.steps:
            self.end_reason = "the last step"
        rows = self._journal.list_validations(self.score)
        self._earlier_s = rows[-1]["seconds"] if rows else 0
        return fresh

    def needs_loss(self, step: int) -> bool:
        """Whether `record_loss` must be called at this step. On other steps the loop need not
        wait for the device."""
        return step >= min(self._next_read, self.config.steps) or step % LOG_EVERY == 0

    def record_loss(self, step: int, loss: float) -> None:
        """Take the mean loss of a step: write it to the journal every 50 steps, and end the run
        at its last step or below ``until_loss``."""
        self._levels = tuple(level for level in self._levels if level <= loss)
        self._next_read = step + count_safe_steps(loss, self._levels)
        if step % LOG_EVERY == 0:
            self._journal.add_row({"step": step, "loss": round(loss, 5)})
            self.report(f"step {step} of {self.config.steps}  loss {loss:.4f}")
        if loss < self.config.until_loss:
            self.end_reason = f"a loss of {loss:.4f}"
        elif step >= self.config.steps:
            self.end_reason = "the last step"

    def iter_passed_levels(self, step: int, loss: float) -> Iterator[tuple[Path, dict[str, Any]]]:
        """For each loss of ``keep_at`` that this step is the first to fall below, the folder for
        the weights, and what their card says about it."""
        for level in self.config.keep_at:
            to = self.folder / f"at-{level:g}"
            if loss < level and not _was_saved_before(to / "card.json", step):
                yield to, {"step": step, "loss": round(loss, 5), "kept_at": level}

    def needs_validation(self, step: int) -> bool:
        """Whether to validate after this step: at intervals, and at the end of the run."""
        return bool(self.end_reason) or step % self.config.validate_every == 0

    def record_validation(self, step: int, metrics: dict[str, float]) -> bool:
        """Write a validation to the journal, and end the run if ``patience`` is exhausted.
        Returns True if it is the best so far."""
        seconds = self._earlier_s + round(time.monotonic() - self._start_time)
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        row = {"step": step, "seconds": seconds, **finite}
        self._journal.add_row(row)
        self.report(", ".join(f"{k} {v:g}" for k, v in row.items()))
        rows = self._journal.list_validations(self.score)
        ranks = [self._sign * r[self.score] for r in rows]
        since_best = len(ranks) - 1 - ranks.index(max(ranks))
        if not self.end_reason and 0 < self.config.patience <= since_best:
            self.end_reason = f"{since_best} validations without a better {self.score}"
        return since_best == 0

    def save_checkpoint(self, step: int, state: Any) -> None:
        """Save a checkpoint if one is due at this step, or if the run has ended."""
        if self.end_reason or step % self.config.checkpoint_every == 0:
            self._checkpoints.save(step, args=ocp.args.StandardSave(state))

    def should_stop(self, step: int) -> bool:
        """Whether the run has ended, or its hours are over at a checkpoint."""
        if self.end_reason:
            return True
        hours = (time.monotonic() - self._start_time) / 3600
        return step % self.config.checkpoint_every == 0 and hours > self.hours

    def close(self, data: dict[str, Any]) -> dict[str, Any]:
        """Close the files, and write ``run.json`` if the run has ended. Returns its content."""
        self._journal.close()
        self._checkpoints.close()
        rows = self._journal.list_validations(self.score)
        best = max(rows, key=lambda r: self._sign * r[self.score]) if rows else None
        summary = {
            "ended_by": self.end_reason or OUT_OF_TIME,
            "config": asdict(self.config),
            "seed": self.config.seed,
            "commit": ", ".join((self.folder / COMMITS).read_text().split()),
            "data": data,
            "device": jax.devices()[0].device_kind,
            "devices": jax.device_count(),
            "last": rows[-1] if rows else None,
            "best": best,
        }
        if self.end_reason and self._writable:
            journal.write_summary(self.folder, summary)
        return summary


def _was_saved_before(card: Path, step: int) -> bool:
    """Whether a bundle was saved at an earlier step. One of a later step was saved before the run
    was resumed from an older checkpoint, and is saved again."""
    return card.is_file() and json.loads(card.read_text())["step"] < step


def open_checkpoints(folder: Path) -> ocp.CheckpointManager:
    """The checkpoints of a run; the newest two are retained."""
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    return ocp.CheckpointManager((folder / "checkpoints").absolute(), options=options)


def load_newest_state(folder: Path, like: State) -> State:
    """The state of the newest checkpoint of a run, with the shapes of ``like``. Raises TrainError
    if there is none."""
    with open_checkpoints(folder) as manager:
        if manager.latest_step() is None:
            raise TrainError(f"{folder}: no checkpoint. Remove the folder and train again.")
        return _restore_newest(manager, like)


def _restore_newest(manager: ocp.CheckpointManager, like: State) -> State:
    restored: Any = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(like))
    return restored


def copy_to_host(tree: Tree) -> Tree:
    """Replicated arrays as numpy arrays of this host."""
    arrays: Any = jax.tree.map(np.asarray, tree)
    return arrays


def load_ended_run(folder: Path, config: RunConfig) -> dict[str, Any] | None:
    """The content of ``run.json``; None if the run has not ended. Raises TrainError if it is the
    run of another config, whose metrics must not be taken for this one's."""
    summary = journal.read_summary(folder)
    if summary is not None and summary["config"] != json.loads(json.dumps(asdict(config))):
        raise TrainError(
            f"{folder}: holds an ended run of another config. Remove the folder or name another."
        )
    return summary


def check_inputs(folder: Path, *, base: str, own: str) -> None:
    """Record what an adaptation is made from in ``inputs.json`` of its run's folder, or compare it
    with what is recorded there.

    ``base`` is the SHA-256 of the bundle that it begins from, ``own`` that of the user's clips or
    their manifest. Raises TrainError if the folder holds a run with others, whose weights must not
    be taken for this one's.
    """
    path, inputs = folder / INPUTS, {"base": base, "own": own}
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(inputs, indent=2) + "\n")
        return
    recorded = json.loads(path.read_text())
    names = {"base": "another base bundle", "own": "other clips of yours"}
    others = [name for key, name in names.items() if recorded[key] != inputs[key]]
    if others:
        raise TrainError(
            f"{folder}: holds a run with {' and '.join(others)}. Remove the folder or name another."
        )


def record_commit(folder: Path) -> None:
    """Add the commit of the running code to ``commit.txt``, which lists those of all sessions of
    the run."""
    path = folder / COMMITS
    known = path.read_text().split() if path.is_file() else []
    commit = read_commit()
    if commit not in known:
        path.write_text("\n".join([*known, commit]) + "\n")
