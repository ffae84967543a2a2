"""The journal of a training run: its curve as JSON lines and as TensorBoard events.

``log.jsonl`` has a row for each logged loss and each validation, with its step; ``tensorboard/``
has the same numbers. A run that resumes from a checkpoint drops the rows after that step and
writes them again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

LOG, TENSORBOARD, SUMMARY = "log.jsonl", "tensorboard", "run.json"


class Journal:
    """The curve of the run in ``folder``, with the rows up to ``step``; ``rows`` holds all of
    them. With several hosts only one is ``writable``; the others only collect rows."""

    def __init__(self, folder: Path, step: int, *, writable: bool = True) -> None:
        self._path = folder / LOG
        known = read_journal(folder)
        self.rows = [row for row in known if row["step"] <= step]
        self._events = None
        if not writable:
            return
        self._events = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)
        if len(self.rows) != len(known):
            self._path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def add_row(self, row: dict[str, Any]) -> None:
        """Write one row: ``step``, and numbers by name."""
        self.rows.append(row)
        if self._events is None:
            return
        with self._path.open("a") as sink:
            sink.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step":
                self._events.add_scalar(name, value, row["step"])
        self._events.flush()

    def list_validations(self, score: str) -> list[dict[str, Any]]:
        """The rows that have the metric ``score``, in order."""
        return [row for row in self.rows if score in row]

    def close(self) -> None:
        """Close the files."""
        if self._events is not None:
            self._events.close()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Every row of the run in ``folder``; empty if it has not begun."""
    path = folder / LOG
    return list(map(json.loads, path.read_text().splitlines())) if path.is_file() else []


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write ``run.json``, the summary of a finished run."""
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The content of ``run.json``; None if the run has not finished."""
    path = folder / SUMMARY
    return json.loads(path.read_text()) if path.is_file() else None
