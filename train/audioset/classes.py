"""The official class list and ontology: what an index means, and which classes are gunshots."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from train.data.table import read_rows
from train.errors import TrainError

GUNSHOT = "Gunshot, gunfire"


@dataclass(frozen=True)
class ClassList:
    """``names`` and ``mids`` by index; ``gunshots`` are the indices of *Gunshot, gunfire* and
    of all that the ontology has under it."""

    names: tuple[str, ...]
    mids: tuple[str, ...]
    gunshots: tuple[int, ...]


def read_class_list(folder: Path) -> ClassList:
    """The classes of ``class_labels_indices.csv`` and ``ontology.json`` in a folder; raises
    TrainError where one is missing or is not what its name says."""
    listed, tree = folder / "class_labels_indices.csv", folder / "ontology.json"
    try:
        rows = read_rows(listed)
        nodes = {node["id"]: node for node in json.loads(tree.read_text(encoding="utf-8"))}
        names = tuple(row["display_name"] for row in rows)
        mids = tuple(row["mid"] for row in rows)
        if [int(row["index"]) for row in rows] != list(range(len(rows))):
            raise TrainError(f"{listed}: its indices do not count up from 0")
        root = next(node["id"] for node in nodes.values() if node["name"] == GUNSHOT)
    except OSError as error:
        raise TrainError(f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{folder}: not AudioSet's class list and ontology: {error}") from error
    except StopIteration:
        raise TrainError(f"{tree}: has no class {GUNSHOT!r}") from None
    below = _find_descendants(nodes, root)
    return ClassList(names, mids, tuple(i for i, mid in enumerate(mids) if mid in below))


def _find_descendants(nodes: dict[str, dict], root: str) -> set[str]:
    found, left = set(), [root]
    while left:
        mid = left.pop()
        if mid not in found:
            found.add(mid)
            left += nodes.get(mid, {}).get("child_ids", [])
    return found
