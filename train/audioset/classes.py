"""AudioSet's class list and ontology: the name of an index, and which classes are gunshots."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from train.data.table import read_rows
from train.errors import TrainError

GUNSHOT = "Gunshot, gunfire"


@dataclass(frozen=True)
class ClassList:
    """The ``names`` and ``mids`` of the classes, by index.

    ``gunshots`` are the indices of *Gunshot, gunfire* and all its descendants in the ontology.
    """

    names: tuple[str, ...]
    mids: tuple[str, ...]
    gunshots: tuple[int, ...]


def read_class_list(folder: Path) -> ClassList:
    """Read ``class_labels_indices.csv`` and ``ontology.json`` of a folder.

    Raises TrainError if one is missing or has another format.
    """
    class_list, ontology = folder / "class_labels_indices.csv", folder / "ontology.json"
    try:
        rows = read_rows(class_list)
        nodes = {node["id"]: node for node in json.loads(ontology.read_text(encoding="utf-8"))}
        names = tuple(row["display_name"] for row in rows)
        mids = tuple(row["mid"] for row in rows)
        if [int(row["index"]) for row in rows] != list(range(len(rows))):
            raise TrainError(f"{class_list}: the indices do not count up from 0")
        root = next(node["id"] for node in nodes.values() if node["name"] == GUNSHOT)
    except OSError as error:
        raise TrainError(f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{folder}: not AudioSet's class list and ontology: {error}") from error
    except StopIteration:
        raise TrainError(f"{ontology}: no class {GUNSHOT!r}") from None
    gunshots = _find_descendants(nodes, root)
    return ClassList(names, mids, tuple(i for i, mid in enumerate(mids) if mid in gunshots))


def read_gunshot_classes(folder: Path) -> ClassList:
    """Read the class list of a folder as `read_class_list` does. Also raises TrainError if none of
    its classes is a gunshot."""
    known = read_class_list(folder)
    if not known.gunshots:
        raise TrainError(
            f"{folder}: no class of class_labels_indices.csv is {GUNSHOT!r} or below it in "
            "ontology.json. Add one, or correct the mids."
        )
    return known


def _find_descendants(nodes: dict[str, dict], root: str) -> set[str]:
    found, queue = set(), [root]
    while queue:
        mid = queue.pop()
        if mid not in found:
            found.add(mid)
            queue += nodes.get(mid, {}).get("child_ids", [])
    return found
