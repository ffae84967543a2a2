"""What a run writes down as it goes: its curve, as JSON lines and as TensorBoard's events.

``log.jsonl`` has a row for each loss and each validation, with its step; ``tensorboard/`` the
same numbers. A run that goes on behind a checkpoint forgets what it wrote past it and writes it
again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

LOG, TENSORBOARD, ABOUT = "log.jsonl", "tensorboard", "run.json"


class Journal:
    """The curve of the run in ``folder``, kept up to ``step``; ``rows`` is all of it. Of several
    hosts one ``writes``."""

    def __init__(self, folder: Path, step: int, *, writes: bool = True) -> None:
        self._path = folder / LOG
        known = read(folder)
        self.rows = [row for row in known if row["step"] <= step]
        self._events = None
        if not writes:
            return
        self._events = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)
        if len(self.rows) != len(known):
            self._path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row: dict[str, Any]) -> None:
        """Write one row down: ``step``, and numbers by name."""
        self.rows.append(row)
        if self._events is None:
            return
        with self._path.open("a") as sink:
            sink.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step":
                self._events.add_scalar(name, value, row["step"])
        self._events.flush()

    def validations(self, score: str) -> list[dict[str, Any]]:
        """The rows that have this figure, in their order."""
        return [row for row in self.rows if score in row]

    def close(self) -> None:
        """Nothing more is written."""
        if self._events is not None:
            self._events.close()


def read(folder: Path) -> list[dict[str, Any]]:
    """Every row of the run in ``folder``; none where it has not begun."""
    path = folder / LOG
    return list(map(json.loads, path.read_text().splitlines())) if path.is_file() else []


def conclude(folder: Path, about: dict[str, Any]) -> None:
    """Write ``run.json``, what a run was and came to."""
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n")


def concluded(folder: Path) -> dict[str, Any] | None:
    """What ``run.json`` says; None where the run has not ended."""
    path = folder / ABOUT
    return json.loads(path.read_text()) if path.is_file() else None
