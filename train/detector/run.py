"""What the training loops share: checkpoints, the journal, when a run ends, what it came to.

A run lies in a folder: ``checkpoints/``, its `train.detector.journal`, and, once it has ended,
``run.json``: by what it ended, config, seed, commits, data, and the figures of its best and last
validation.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from train.detector import journal
from train.detector.commit import current_commit
from train.detector.journal import Journal
from train.errors import TrainError

LOSS_OVER = 50
"""Steps that the loss is averaged over, about."""
LOSS_EVERY = 50
COMMIT = "commit.txt"

State = TypeVar("State")
Tree = TypeVar("Tree")


def to_stderr(line: str) -> None:
    """Say a line to whoever watches, and leave stdout to results."""
    print(line, file=sys.stderr, flush=True)


class Ends(Protocol):
    """What of a config says when its run ends."""

    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def until_loss(self) -> float: ...  # noqa: D102
    @property
    def keep_at(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def patience(self) -> int: ...  # noqa: D102
    @property
    def validate_every(self) -> int: ...  # noqa: D102
    @property
    def checkpoint_every(self) -> int: ...  # noqa: D102


def moving_loss(step: jax.Array, before: jax.Array, loss: jax.Array) -> jax.Array:
    """The moving mean of the losses, the first one's own at step 0."""
    return jnp.where(step == 0, loss, before + (loss - before) / LOSS_OVER)


class Run:
    """A run in its folder, to be gone on with or begun. ``score`` names the figure that
    validations are compared by, the ``highest`` or the lowest of them the best."""

    def __init__(
        self,
        folder: Path,
        config: Ends,
        score: str,
        *,
        highest: bool,
        hours: float,
        said: Callable[[str], None],
    ) -> None:
        self.folder, self.config, self.hours, self.said = folder, config, hours, said
        self.score, self._sign = score, 1.0 if highest else -1.0
        self._writes = jax.process_index() == 0
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoints = checkpoints(folder)
        self._began, self._known_s = time.monotonic(), 0
        self.why = ""

    def state(self, fresh: State) -> State:
        """The newest checkpoint's state, or a fresh one; and opens the journal there."""
        step = self._checkpoints.latest_step()
        if step is not None:
            restored: Any = newest(self._checkpoints, fresh)
            fresh = restored
            self.said(f"going on from step {step}")
        if self._writes and journal.concluded(self.folder) is None:
            note_commit(self.folder)
        self._log = Journal(self.folder, step or 0, writes=self._writes)
        if (step or 0) >= self.config.steps:
            self.why = "the last step"
        rows = self._log.validations(self.score)
        self._known_s = rows[-1]["seconds"] if rows else 0
        return fresh

    def stepped(self, step: int, loss: float) -> bool:
        """Note a step's loss; whether it is time to validate."""
        if step % LOSS_EVERY == 0:
            self._log.add({"step": step, "loss": round(loss, 5)})
            self.said(f"step {step} of {self.config.steps}  loss {loss:.4f}")
        if loss < self.config.until_loss:
            self.why = f"a loss of {loss:.4f}"
        elif step >= self.config.steps:
            self.why = "the last step"
        return bool(self.why) or step % self.config.validate_every == 0

    def levels(self, step: int, loss: float) -> Iterator[tuple[Path, dict[str, Any]]]:
        """A folder for each of the config's losses that this step is the first below, and what a
        card of its weights should say."""
        for level in self.config.keep_at:
            to = self.folder / f"at-{level:g}"
            if loss < level and not _kept_before(to / "card.json", step):
                yield to, {"step": step, "loss": round(loss, 5), "kept_at": level}

    def validated(self, step: int, figures: dict[str, float]) -> bool:
        """Note a validation; whether it is the best so far."""
        seconds = self._known_s + round(time.monotonic() - self._began)
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        row = {"step": step, "seconds": seconds, **finite}
        self._log.add(row)
        self.said(", ".join(f"{k} {v:g}" for k, v in row.items()))
        rows = self._log.validations(self.score)
        ranks = [self._sign * r[self.score] for r in rows]
        waited = len(ranks) - 1 - ranks.index(max(ranks))
        if not self.why and 0 < self.config.patience <= waited:
            self.why = f"{waited} validations without a better {self.score}"
        return waited == 0

    def over(self, step: int, state: Any) -> bool:
        """Keep a checkpoint where one is due; whether to stop here."""
        due = step % self.config.checkpoint_every == 0
        if self.why or due:
            self._checkpoints.save(step, args=ocp.args.StandardSave(state))
        late = due and time.monotonic() - self._began > self.hours * 3600
        return bool(self.why) or late

    def close(self, data: dict[str, Any]) -> dict[str, Any]:
        """Write ``run.json`` if the run has ended; returns what it says, or would."""
        self._log.close()
        self._checkpoints.close()
        rows = self._log.validations(self.score)
        best = max(rows, key=lambda r: self._sign * r[self.score]) if rows else None
        config: Any = self.config
        about = {
            "ended_by": self.why or "its time; run it again to go on",
            "config": asdict(config),
            "seed": config.seed,
            "commit": ", ".join((self.folder / COMMIT).read_text().split()),
            "data": data,
            "device": jax.devices()[0].device_kind,
            "devices": jax.device_count(),
            "last": rows[-1] if rows else None,
            "best": best,
        }
        if self.why and self._writes:
            journal.conclude(self.folder, about)
        return about


def _kept_before(card: Path, step: int) -> bool:
    """Whether it is there already, and not from behind the checkpoint that a run went on from."""
    return card.is_file() and json.loads(card.read_text())["step"] < step


def checkpoints(folder: Path) -> ocp.CheckpointManager:
    """The checkpoints of a run, the newest two kept."""
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    return ocp.CheckpointManager((folder / "checkpoints").absolute(), options=options)


def newest(manager: ocp.CheckpointManager, like: State) -> State:
    """The newest state, of the shape of ``like``."""
    restored: Any = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(like))
    return restored


def local(tree: Tree) -> Tree:
    """Arrays that lie on every device as numpy arrays of this host."""
    found: Any = jax.tree.map(np.asarray, tree)
    return found


def ended(folder: Path, config: Any) -> dict[str, Any] | None:
    """What ``run.json`` says of an ended run; None where there is none. Raises TrainError where
    it was a run of another config, whose figures would pass for this one's."""
    about = journal.concluded(folder)
    if about is not None and about["config"] != json.loads(json.dumps(asdict(config))):
        raise TrainError(
            f"{folder}: an ended run of another config lies there; remove it or name another folder"
        )
    return about


def note_commit(folder: Path) -> None:
    """Add the code that runs to ``commit.txt``: what began a run, and what went on with it."""
    path = folder / COMMIT
    known = path.read_text().split() if path.is_file() else []
    if current_commit() not in known:
        path.write_text("\n".join([*known, current_commit()]) + "\n")
