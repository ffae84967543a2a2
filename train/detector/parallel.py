"""Data parallelism: the rows of a batch are split over all devices, the weights are replicated.

XLA sees where each array lies and adds the exchange of gradients. The same step then gives the
same loss on one device, on several, and on several hosts, up to rounding.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from train.errors import TrainError

Tree = TypeVar("Tree")


class BatchSharding:
    """Splits the rows of a batch evenly over the devices of all hosts.

    Raises TrainError if the number of ``rows`` is not a multiple of the number of devices.
    """

    def __init__(self, rows: int) -> None:
        devices = jax.devices()
        if rows % len(devices):
            raise TrainError(
                f"a batch of {rows} rows can't be split over {len(devices)} devices; set the "
                f"config's batch to a multiple of {len(devices)}"
            )
        mesh = Mesh(np.array(devices), ("rows",))
        self.single_device = len(devices) == 1
        self._by_row = NamedSharding(mesh, PartitionSpec("rows"))
        self._replicated = NamedSharding(mesh, PartitionSpec())

    def shard_batch(self, tree: Tree) -> Tree:
        """Turn this host's rows of a batch into the whole batch over all devices."""
        return self._place(tree, self._by_row)

    def replicate_state(self, tree: Tree) -> Tree:
        """Copy a state, which is the same on every host, to every device."""
        return self._place(tree, self._replicated)

    def _place(self, tree: Tree, sharding: NamedSharding) -> Tree:
        if self.single_device:
            return tree
        placed: Any = jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
        )
        return placed


def join_hosts(coordinator: str, hosts: int, host: int) -> None:
    """Make this process number ``host`` of ``hosts`` that train one network together
    (`jax.distributed`); ``coordinator`` is HOST:PORT of the first one."""
    jax.distributed.initialize(coordinator, hosts, host)
