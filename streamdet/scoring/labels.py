"""Reading labels: the true shots of a file.

Supported are CSV with a header that has ``onset_s`` and optionally ``offset_s`` and ``file``;
Audacity's label tracks (start, end and text, separated by tabs); Raven's selection tables; and
windows of 10 s by the name ``movie_HH-MM-SS.mmm.wav``: a folder of such files, or a list of such
names, as text or as the column ``name`` of a CSV file.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

WINDOW_S = 10.0
_NAME = re.compile(r"(?P<film>.+)_(?P<h>\d{1,2})-(?P<m>\d{2})-(?P<s>\d{2}(?:\.\d+)?)(?:\.\w+)?")
_RAVEN_ONSET = "Begin Time (s)"


class LabelError(Exception):
    """The labels can't be read; the message is one line that says where and why."""


@dataclass(frozen=True)
class ShotLabel:
    """A shot, in seconds of its file. ``file`` is empty if the label applies to any file.
    ``window``: the shot lies somewhere between the two times."""

    onset_s: float
    offset_s: float
    file: str = ""
    window: bool = False

    @property
    def span(self) -> tuple[float, float]:
        """(onset_s, offset_s)."""
        return self.onset_s, self.offset_s


def read_labels(path: Path) -> list[ShotLabel]:
    """Read the labels of a file or folder. Raises LabelError."""
    if path.is_dir():
        names = sorted(p.name for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
        return [window_label(str(path), name) for name in names]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "not UTF-8 text"
        raise LabelError(f"{path}: {problem}") from error
    lines = text.splitlines()
    first = lines[0] if lines else ""
    header = [name.strip() for name in first.split(",")]
    if _RAVEN_ONSET in first.split("\t"):
        rows = csv.DictReader(lines, delimiter="\t")
        return [_from_raven(path, number, row) for number, row in enumerate(rows, 2)]
    rows = enumerate(csv.DictReader(lines), 2)
    if "onset_s" in header:
        return [_from_csv(path, number, row) for number, row in rows]
    if "name" in header:
        return [window_label(f"{path}, line {number}", row["name"] or "") for number, row in rows]
    labels = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("\\"):  # Audacity's line of frequencies
            continue
        if "\t" not in line and _NAME.fullmatch(line.strip()):
            labels.append(window_label(f"{path}, line {number}", line.strip()))
        else:
            labels.append(_from_audacity(path, number, line))
    return labels


def window_label(where: str, name: str) -> ShotLabel:
    """The label of a window of 10 s by its name. ``where`` begins the message of the LabelError
    that another name raises."""
    match = _NAME.fullmatch(name)
    if not match:
        raise LabelError(f"{where}: {name}: not named like movie_HH-MM-SS.mmm.wav")
    start_s = 3600.0 * int(match["h"]) + 60.0 * int(match["m"]) + float(match["s"])
    return ShotLabel(start_s, start_s + WINDOW_S, match["film"], window=True)


def labels_for_file(labels: Iterable[ShotLabel], path: str) -> list[ShotLabel]:
    """The labels of one file: those with its path, its name, its stem, or without a file."""
    names = ("", path, Path(path).name, Path(path).stem)
    return [label for label in labels if label.file in names]


def _from_csv(path: Path, number: int, row: dict[str, str | None]) -> ShotLabel:
    onset_s = _seconds(path, number, row.get("onset_s"))
    offset = (row.get("offset_s") or "").strip()
    offset_s = _seconds(path, number, offset) if offset else onset_s
    return ShotLabel(onset_s, max(onset_s, offset_s), (row.get("file") or "").strip())


def _from_raven(path: Path, number: int, row: dict[str, str | None]) -> ShotLabel:
    onset_s = _seconds(path, number, row.get(_RAVEN_ONSET))
    end = (row.get("End Time (s)") or "").strip()
    offset_s = _seconds(path, number, end) if end else onset_s
    return ShotLabel(onset_s, max(onset_s, offset_s), (row.get("Begin File") or "").strip())


def _from_audacity(path: Path, number: int, line: str) -> ShotLabel:
    fields = line.split("\t")
    if len(fields) < 2:
        raise LabelError(
            f"{path}, line {number}: not a label. Supported are Audacity's and Raven's labels, CSV "
            "with a header onset_s,offset_s, and names like movie_HH-MM-SS.mmm.wav"
        )
    onset_s = _seconds(path, number, fields[0])
    return ShotLabel(onset_s, max(onset_s, _seconds(path, number, fields[1])))


def _seconds(path: Path, number: int, text: str | None) -> float:
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise LabelError(f"{path}, line {number}: {text!r} is not a time in seconds")
    return seconds
