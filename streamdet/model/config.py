"""The shapes of frontends and networks, as a bundle's card has them; nothing here needs JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from streamdet.constants import RATE

Params = dict[str, Any]
"""Weights of a network: ``{layer: {tensor: float32 array}}``, of numpy or of JAX."""


@dataclass(frozen=True)
class FrontendConfig:
    """The shape of the log-mel analysis; every field is part of a bundle's card.

    Lengths are in samples, frequencies in Hz. ``floor`` is added to the band power before
    the logarithm (1.0 is a full-scale sine); ``mean`` and ``scale`` bring the natural
    logarithm to about zero mean and unit variance.
    """

    sample_rate: int = RATE
    window: int = 400
    hop: int = 160
    n_fft: int = 512
    bands: int = 64
    f_min: float = 60.0
    f_max: float = 7_800.0
    floor: float = 1e-10
    mean: float = -13.0
    scale: float = 4.0


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the network; every field is part of a bundle's card.

    ``conv`` holds (channels, kernel, stride) for each convolution over time, ``cells`` the
    width of each LSTM; ``norm`` puts a layer normalisation (Ba et al., 2016) behind each
    convolution. ``patch`` (bands, stride) makes the first convolution slide over the bands
    too: one kernel for all pitches, its channels at every position laid end to end.
    ``residual`` (kernel, dilation) are causal convolutions that keep the width and are added
    to what they hear; ``norm_cells`` normalises before each LSTM. ``backgrounds`` are the time
    constants, in frames, of running means of each band: for each the bands are heard once more
    less that mean, as far as they stand out.
    """

    bands: int = 64
    conv: tuple[tuple[int, int, int], ...] = ((96, 5, 2), (128, 5, 2))
    cells: tuple[int, ...] = (128, 128)
    norm: bool = True
    patch: tuple[int, int] | None = None
    residual: tuple[tuple[int, int], ...] = ()
    norm_cells: bool = False
    backgrounds: tuple[int, ...] = ()
    labels: tuple[str, ...] = ("gunshot",)

    @property
    def stride(self) -> int:
        """Log-mel frames for each frame of probabilities."""
        product = 1
        for _, _, stride in self.conv:
            product *= stride
        return product

    @property
    def positions(self) -> int:
        """Places over the bands of the first convolution: 1 where it spans them all."""
        return 1 if self.patch is None else (self.bands - self.patch[0]) // self.patch[1] + 1

    @property
    def views(self) -> int:
        """How often the bands are heard side by side."""
        return 1 + len(self.backgrounds)

    def widths(self) -> list[int]:
        """The features of a frame that each convolution gives."""
        places = [self.positions] + [1] * (len(self.conv) - 1)
        return [layer[0] * p for layer, p in zip(self.conv, places, strict=True)]

    def tails(self) -> list[tuple[int, int]]:
        """The (frames, features) that each convolution looks back on, the residual ones last."""
        seen = [self.bands * self.views, *self.widths()]
        layers = zip(self.conv, seen, strict=False)
        conv = [(kernel - stride, width) for (_, kernel, stride), width in layers]
        return conv + [((kernel - 1) * dilation, seen[-1]) for kernel, dilation in self.residual]


def param_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor of this network, ``layer/tensor`` by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    width = config.bands * config.views
    for i, ((channels, kernel, _), out) in enumerate(
        zip(config.conv, config.widths(), strict=True)
    ):
        patch = config.patch if i == 0 else None
        wide = width if patch is None else patch[0] * config.views
        shapes[f"conv_{i}/kernel"] = (kernel, wide, channels)
        shapes[f"conv_{i}/bias"] = (channels,)
        if config.norm:
            shapes[f"norm_{i}/scale"] = shapes[f"norm_{i}/bias"] = (out,)
        width = out
    for i, (kernel, _) in enumerate(config.residual):
        shapes[f"residual_{i}/kernel"] = (kernel, width, width)
        for tensor in (f"residual_{i}/bias", f"residual_{i}_norm/scale", f"residual_{i}_norm/bias"):
            shapes[tensor] = (width,)
    for i, cells in enumerate(config.cells):
        if config.norm_cells:
            shapes[f"lstm_{i}_norm/scale"] = shapes[f"lstm_{i}_norm/bias"] = (width,)
        shapes[f"lstm_{i}/input_kernel"] = (width, 4 * cells)
        shapes[f"lstm_{i}/recurrent_kernel"] = (cells, 4 * cells)
        shapes[f"lstm_{i}/bias"] = (4 * cells,)
        width = cells
    shapes["head/kernel"] = (width, len(config.labels))
    shapes["head/bias"] = (len(config.labels),)
    return shapes


@dataclass(frozen=True)
class VggishConfig:
    """The shape of the analysis, part of a bundle's card: samples, hertz and frames; ``offset``
    is added to the magnitude of a band before the logarithm."""

    sample_rate: int = RATE
    window: int = 400
    hop: int = 160
    n_fft: int = 512
    bands: int = 64
    f_min: float = 125.0
    f_max: float = 7_500.0
    offset: float = 0.01
    patch: int = 96


@dataclass(frozen=True)
class TaggerModelConfig:
    """The shape of a tagger over ``(seconds, 128)`` embeddings.

    ``cells`` are the widths of its LSTMs. A ``last_state`` tagger is the YouTube-8M starter
    code's: unit-length frames, the last state and cell of every layer into a classifier, of
    ``mixtures`` experts or logistic at 0. An ``attention`` tagger reads both ways (if
    ``both_ways``) behind a dense layer of ``dense`` units, and every class pools the states by
    an attention of its own (Kong et al., *Audio Set Classification with Attention Model*,
    ICASSP 2018), those of the dense layer too where it has a ``skip``. A ``calibrated`` one ends
    in a scale and a bias for each class, so that a score is a probability.
    """

    pooling: Literal["last_state", "attention"] = "attention"
    cells: tuple[int, ...] = (384,)
    mixtures: int = 0
    dense: int = 512
    both_ways: bool = True
    skip: bool = False
    calibrated: bool = False
    classes: int = 527
