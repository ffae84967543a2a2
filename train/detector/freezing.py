"""Freezing layers: which layers to freeze, and an optimizer that leaves them unchanged."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import optax

from streamdet.model.config import Params
from train.errors import TrainError

LayerGroups = Sequence[Sequence[str]]
"""The layers of a network, from its input to its output. A group is trained or frozen as one."""


def list_frozen_layers(groups: LayerGroups, trained: int) -> tuple[str, ...]:
    """The layers before the last ``trained`` groups; raises TrainError if the network does not
    have that many groups."""
    if not 1 <= trained <= len(groups):
        names = ", ".join(group[0] for group in reversed(groups))
        raise TrainError(
            f"--layers {trained}: 1 to {len(groups)} can be trained, from the head down: {names}"
        )
    return tuple(name for group in groups[: len(groups) - trained] for name in group)


def freeze_layers(
    names: Sequence[str], transformation: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Wrap an optimizer so that the updates of the named layers are zero."""
    if not names:
        return transformation

    def mask_frozen(params: Params) -> Params:
        return {
            layer: jax.tree.map(lambda _, layer=layer: layer in names, tensors)
            for layer, tensors in params.items()
        }

    return optax.chain(transformation, optax.masked(optax.set_to_zero(), mask_frozen))
