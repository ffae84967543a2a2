"""Budgets of false alarms of the configured sources, and the files that keep their backgrounds over
restarts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from streamdet.budget import parse_budget
from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config, SourceConfig, slug
from streamdet.detection.background_format import BackgroundError
from streamdet.model.bundle import Bundle
from streamdet.pipeline.budget_threshold import BudgetSetup, BudgetThreshold, set_up_budget

SAVE_S = 600.0
"""How often backgrounds are saved."""
_MAX_BYTES = 1_000_000
_CLOSE_S = 2.0

ReportProblem = Callable[[str, str], None]
"""Called with the name of a source and what is wrong with its file, from any thread."""


def build_budget(config: Config, bundle: Bundle, source: SourceConfig) -> BudgetSetup | None:
    """The budget of a source, None if it has a fixed threshold. Its own keys take precedence over
    the general ones. Raises ConfigError."""
    for prefix, table in ((f"sources.{source.name}.", source), ("", config)):
        if table.false_alarms is not None:
            budget, half_life_s = parse_budget(table.false_alarms), config.background.half_life_s
            try:
                return set_up_budget(bundle, budget, half_life_s, verify=config.verify)
            except BackgroundError as error:
                raise ConfigError([f"{prefix}false_alarms: {bundle.name}: {error}"]) from error
        if table.threshold is not None or table.operating_point is not None:
            return None
    return None


class BackgroundFiles:
    """One JSON file for each source. Files are read at once and written by a thread.

    A file that cannot be used is reported, and the background begins again.
    """

    def __init__(self, folder: Path, report_problem: ReportProblem) -> None:
        self.folder, self._report_problem = folder, report_problem
        self._thread: ThreadPoolExecutor | None = None
        self._written: Future[None] | None = None

    def load(self, name: str, setup: BudgetSetup) -> BudgetThreshold:
        """The threshold of a source, with the background of its file if there is one."""
        path = self.path(name)
        if self._written is not None:
            wait([self._written], _CLOSE_S)
        try:
            saved = _read_record(path)
            if saved is not None and saved.get("source") == name:
                return BudgetThreshold(setup, saved)
        except (OSError, BackgroundError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self._report_problem(name, f"{path}: {reason}; the background begins again")
        return BudgetThreshold(setup)

    def save(self, thresholds: Iterable[tuple[str, BudgetThreshold]]) -> None:
        """Write the backgrounds of these sources soon."""
        records = {name: {"source": name, **budget.record()} for name, budget in thresholds}
        if records:
            self._thread = self._thread or ThreadPoolExecutor(1, "streamdet-backgrounds")
            self._written = self._thread.submit(self._write, records)

    def close(self) -> None:
        """Wait a short time until all is written."""
        if self._thread is not None and self._written is not None:
            self._thread.shutdown(wait=False)
            if wait([self._written], _CLOSE_S).not_done:
                self._report_problem("", f"{self.folder}: backgrounds were not written in time")

    def path(self, name: str) -> Path:
        """The file of a source."""
        return self.folder / f"{slug(name)}.json"

    def _write(self, records: dict[str, dict[str, Any]]) -> None:
        for name, record in records.items():
            path = self.path(name)
            part = path.with_suffix(".part")
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(record), encoding="utf-8")
                part.replace(path)
            except OSError as error:
                self._report_problem(name, f"{path}: {error.strerror}; the background is not kept")


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The backgrounds in a folder, in order of the sources' names, without damaged files.

    Raises OSError.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = _read_record(path)
        except BackgroundError:
            continue
        if record is not None:
            records.append(record)
    return sorted(records, key=lambda record: str(record.get("source")))


def _read_record(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None if there is no file."""
    try:
        with path.open("rb") as file:
            record = json.loads(file.read(_MAX_BYTES))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise BackgroundError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise BackgroundError("not a JSON object")
    return record
