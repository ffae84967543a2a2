"""True events of a file as somebody labelled them, and which found ones they make true.

Two forms are read: CSV with a header that has ``onset_s`` and, as far as there are any,
``offset_s`` and ``file``; and Audacity's label tracks (start, end and text between tabs).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

COLLAR_S = 0.5
"""An event is true where it comes this near to a label."""


class LabelError(Exception):
    """The file can't be read as labels; one line that says where."""


@dataclass(frozen=True)
class Label:
    """A shot, in seconds of its file; ``file`` is empty where the labels are of any."""

    onset_s: float
    offset_s: float
    file: str = ""


@dataclass(frozen=True)
class Matched:
    """Which of the found events are ``true``, how many labels were ``found`` and how many
    ``missed``, and how far behind its label's onset the nearest true one began, in seconds."""

    true: tuple[bool, ...]
    found: int
    missed: int
    onset_errors: tuple[float, ...]


def read(path: Path) -> list[Label]:
    """The labels of a file; raises LabelError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "not UTF-8 text"
        raise LabelError(f"{path}: {said}") from error
    lines = text.splitlines()
    header = [name.strip() for name in lines[0].split(",")] if lines else []
    if "onset_s" in header:
        rows = csv.DictReader(lines)
        return [_of_csv(path, number, row) for number, row in enumerate(rows, 2)]
    labels = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("\\"):  # a \ line has frequencies
            labels.append(_of_audacity(path, number, line))
    return labels


def of_file(labels: Iterable[Label], path: str) -> list[Label]:
    """Those of one file: of its path, of its name, or of any."""
    return [label for label in labels if label.file in ("", path, Path(path).name)]


def match(
    spans: Sequence[tuple[float, float]], labels: Sequence[Label], collar_s: float = COLLAR_S
) -> Matched:
    """Hold found (onset_s, offset_s) against labels: a span is true where it overlaps one that is
    wider by the collar at both ends, and a label that no span overlaps is missed."""

    def near(span: tuple[float, float], label: Label) -> bool:
        return span[0] <= label.offset_s + collar_s and span[1] >= label.onset_s - collar_s

    true = tuple(any(near(span, label) for label in labels) for span in spans)
    errors = []
    for label in labels:
        late = [span[0] - label.onset_s for span in spans if near(span, label)]
        if late:
            errors.append(min(late, key=abs))
    return Matched(true, len(errors), len(labels) - len(errors), tuple(errors))


def _of_csv(path: Path, number: int, row: dict[str, str | None]) -> Label:
    onset_s = _seconds(path, number, row.get("onset_s"))
    offset = (row.get("offset_s") or "").strip()
    offset_s = _seconds(path, number, offset) if offset else onset_s
    return Label(onset_s, max(onset_s, offset_s), (row.get("file") or "").strip())


def _of_audacity(path: Path, number: int, line: str) -> Label:
    fields = line.split("\t")
    if len(fields) < 2:
        raise LabelError(
            f"{path}, line {number}: no label; Audacity's, or CSV with a header onset_s,offset_s"
        )
    onset_s = _seconds(path, number, fields[0])
    return Label(onset_s, max(onset_s, _seconds(path, number, fields[1])))


def _seconds(path: Path, number: int, text: str | None) -> float:
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise LabelError(f"{path}, line {number}: {text!r} is no time in seconds")
    return seconds
