"""True events of a file as somebody labelled them, and which found ones they make true.

Read are: CSV with a header that has ``onset_s`` and, as far as there are any, ``offset_s`` and
``file``; Audacity's label tracks (start, end and text between tabs); Raven's selection tables; and
windows of 10 s as the film studio named them, ``movie_HH-MM-SS.mmm.wav``: a folder of such files,
or a list of such names, as text or as the column ``name`` of a CSV file.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

COLLAR_S = 0.5
"""An event is true where it comes this near to a label."""
WINDOW_S = 10.0
_NAME = re.compile(r"(?P<film>.+)_(?P<h>\d{1,2})-(?P<m>\d{2})-(?P<s>\d{2}(?:\.\d+)?)(?:\.\w+)?")
_RAVEN = "Begin Time (s)"


class LabelError(Exception):
    """The file can't be read as labels; one line that says where."""


@dataclass(frozen=True)
class ShotLabel:
    """A shot, in seconds of its file; ``file`` is empty where the labels are of any. ``window``:
    there is one somewhere between the two times."""

    onset_s: float
    offset_s: float
    file: str = ""
    window: bool = False


@dataclass(frozen=True)
class MatchResult:
    """Which of the found events are ``true``, how many labels were ``found`` and how many
    ``missed``, and how far behind its label's onset the nearest true one began, in seconds (of
    windows nobody knows)."""

    true: tuple[bool, ...]
    found: int
    missed: int
    onset_errors: tuple[float, ...]


def read_labels(path: Path) -> list[ShotLabel]:
    """The labels of a file or folder; raises LabelError."""
    if path.is_dir():
        names = sorted(p.name for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
        return [window_label(str(path), name) for name in names]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "not UTF-8 text"
        raise LabelError(f"{path}: {said}") from error
    lines = text.splitlines()
    first = lines[0] if lines else ""
    header = [name.strip() for name in first.split(",")]
    if _RAVEN in first.split("\t"):
        rows = csv.DictReader(lines, delimiter="\t")
        return [_of_raven(path, number, row) for number, row in enumerate(rows, 2)]
    rows = enumerate(csv.DictReader(lines), 2)
    if "onset_s" in header:
        return [_of_csv(path, number, row) for number, row in rows]
    if "name" in header:
        return [window_label(f"{path}, line {number}", row["name"] or "") for number, row in rows]
    labels = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("\\"):  # a \\ line has frequencies
            continue
        if "\t" not in line and _NAME.fullmatch(line.strip()):
            labels.append(window_label(f"{path}, line {number}", line.strip()))
        else:
            labels.append(_of_audacity(path, number, line))
    return labels


def window_label(where: str, name: str) -> ShotLabel:
    """The 10 s that a file is, by its name; ``where`` is for the LabelError of another name."""
    found = _NAME.fullmatch(name)
    if not found:
        raise LabelError(f"{where}: {name}: not named like movie_HH-MM-SS.mmm.wav")
    start_s = 3600.0 * int(found["h"]) + 60.0 * int(found["m"]) + float(found["s"])
    return ShotLabel(start_s, start_s + WINDOW_S, found["film"], window=True)


def labels_for_file(labels: Iterable[ShotLabel], path: str) -> list[ShotLabel]:
    """Those of one file: of its path, its name with or without its ending, or of any."""
    called = ("", path, Path(path).name, Path(path).stem)
    return [label for label in labels if label.file in called]


def match_events(
    spans: Sequence[tuple[float, float]], labels: Sequence[ShotLabel], collar_s: float = COLLAR_S
) -> MatchResult:
    """Hold found (onset_s, offset_s) against labels: a span is true where it overlaps one that is
    wider by the collar at both ends, and a label that no span overlaps is missed."""

    def near(span: tuple[float, float], label: ShotLabel) -> bool:
        return span[0] <= label.offset_s + collar_s and span[1] >= label.onset_s - collar_s

    true = tuple(any(near(span, label) for label in labels) for span in spans)
    found, errors = 0, []
    for label in labels:
        late = [span[0] - label.onset_s for span in spans if near(span, label)]
        found += bool(late)
        if late and not label.window:
            errors.append(min(late, key=abs))
    return MatchResult(true, found, len(labels) - found, tuple(errors))


@dataclass(frozen=True)
class WindowCounts:
    """The film studio's own table: of so many ``labelled`` windows of 10 s so many are ``correct``,
    with an event in them, and so many that touch none of them have one all the same: ``false``."""

    correct: int
    labelled: int
    false: int


def count_windows(
    spans: Sequence[tuple[float, float]], labels: Sequence[ShotLabel]
) -> WindowCounts:
    """Hold found (onset_s, offset_s) against labels by windows: those that are labelled, or those
    of a grid from 0 s on that shots begin in. A window that a label touches is never false."""
    starts = {
        label.onset_s if label.window else WINDOW_S * (label.onset_s // WINDOW_S)
        for label in labels
    }
    touched = {WINDOW_S * i for label in labels if not label.window for i in _grid(label)}

    def heard(start_s: float) -> bool:
        return any(a < start_s + WINDOW_S and b > start_s for a, b in spans)

    predicted = {WINDOW_S * i for a, b in spans for i in _grid(ShotLabel(a, b))} - touched
    false = [at for at in predicted if all(abs(at - start) >= WINDOW_S for start in starts)]
    return WindowCounts(sum(map(heard, starts)), len(starts), sum(map(heard, false)))


def _grid(label: ShotLabel) -> range:
    """The windows of the grid that it touches."""
    return range(int(label.onset_s // WINDOW_S), int(label.offset_s // WINDOW_S) + 1)


def _of_csv(path: Path, number: int, row: dict[str, str | None]) -> ShotLabel:
    onset_s = _seconds(path, number, row.get("onset_s"))
    offset = (row.get("offset_s") or "").strip()
    offset_s = _seconds(path, number, offset) if offset else onset_s
    return ShotLabel(onset_s, max(onset_s, offset_s), (row.get("file") or "").strip())


def _of_raven(path: Path, number: int, row: dict[str, str | None]) -> ShotLabel:
    onset_s = _seconds(path, number, row.get(_RAVEN))
    end = (row.get("End Time (s)") or "").strip()
    offset_s = _seconds(path, number, end) if end else onset_s
    return ShotLabel(onset_s, max(onset_s, offset_s), (row.get("Begin File") or "").strip())


def _of_audacity(path: Path, number: int, line: str) -> ShotLabel:
    fields = line.split("\t")
    if len(fields) < 2:
        raise LabelError(
            f"{path}, line {number}: no label; Audacity's, Raven's, CSV with a header "
            "onset_s,offset_s, or names like movie_HH-MM-SS.mmm.wav"
        )
    onset_s = _seconds(path, number, fields[0])
    return ShotLabel(onset_s, max(onset_s, _seconds(path, number, fields[1])))


def _seconds(path: Path, number: int, text: str | None) -> float:
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise LabelError(f"{path}, line {number}: {text!r} is no time in seconds")
    return seconds
