"""Layers that keep their weights: which there are, and the step that leaves them alone."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import optax

from streamdet.model.config import Params
from train.errors import TrainError

Groups = Sequence[Sequence[str]]
"""The layers of a network from its input on, those that belong together in one."""


def frozen(groups: Groups, trained: int) -> tuple[str, ...]:
    """The layers before the last ``trained`` groups; raises TrainError for a number that is not
    one of the network's."""
    if not 1 <= trained <= len(groups):
        names = ", ".join(group[0] for group in reversed(groups))
        raise TrainError(f"--layers {trained}: 1 to {len(groups)} can be trained: {names}")
    return tuple(name for group in groups[: len(groups) - trained] for name in group)


def leaving(
    names: Sequence[str], moved: optax.GradientTransformation
) -> optax.GradientTransformation:
    """An optimizer's steps, but none for the layers of these names."""
    if not names:
        return moved

    def held(params: Params) -> Params:
        return {
            layer: jax.tree.map(lambda _, layer=layer: layer in names, tensors)
            for layer, tensors in params.items()
        }

    return optax.chain(moved, optax.masked(optax.set_to_zero(), held))
