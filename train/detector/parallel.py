"""One batch over many devices: rows apart, weights everywhere the same.

XLA sees which array lies where and adds the exchange of gradients; the same step then gives the
same loss on one device, on several, and on several hosts, up to rounding.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from train.errors import TrainError

Tree = TypeVar("Tree")


class Spread:
    """The devices of every host in one row, a batch's rows shared out along it.

    Raises TrainError where ``rows`` can't be shared out evenly.
    """

    def __init__(self, rows: int) -> None:
        devices = jax.devices()
        if rows % len(devices):
            raise TrainError(
                f"a batch of {rows} rows can't be shared out over {len(devices)} devices; choose "
                "a multiple"
            )
        mesh = Mesh(np.array(devices), ("rows",))
        self.alone = len(devices) == 1
        self._rows, self._all = (
            NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("rows",), ())
        )

    def batch(self, tree: Tree) -> Tree:
        """This host's rows of a batch, as the whole batch over all devices."""
        if self.alone:
            return tree
        spread: Any = jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self._rows, np.asarray(x)), tree
        )
        return spread

    def state(self, tree: Tree) -> Tree:
        """A state, the same on every host, on every device."""
        if self.alone:
            return tree
        spread: Any = jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self._all, np.asarray(x)), tree
        )
        return spread


def joined(coordinator: str, hosts: int, host: int) -> None:
    """Make this process one of ``hosts`` that train one network (`jax.distributed`)."""
    jax.distributed.initialize(coordinator, hosts, host)
