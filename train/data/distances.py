"""Distances from the gun to the sensors of field recordings.

A folder of positions has ``sensors.csv`` (test, path, x_m, y_m, z_m: a recording of each sensor in
each test) and ``tests.csv`` (test, x_m, y_m, z_m: where the gun was fired).
"""

from __future__ import annotations

import math
from pathlib import Path

from train.data.table import read_rows
from train.errors import TrainError


def read_distances(folder: Path) -> dict[str, float]:
    """The distance in metres of each recording, by its file name. Empty if the folder does not
    exist. Raises TrainError if its tables can't be read."""
    if not folder.is_dir():
        return {}
    try:
        guns = {row["test"]: _read_position(row) for row in read_rows(folder / "tests.csv")}
        return {
            Path(row["path"]).name: math.dist(_read_position(row), guns[row["test"]])
            for row in read_rows(folder / "sensors.csv")
        }
    except (OSError, KeyError, TypeError, ValueError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise TrainError(f"{folder}: sensors.csv or tests.csv can't be read: {problem}") from error


def _read_position(row: dict[str, str]) -> tuple[float, float, float]:
    return float(row["x_m"]), float(row["y_m"]), float(row["z_m"])
