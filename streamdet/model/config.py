"""The configuration of frontends and networks, as stored in a bundle's card. Needs no JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from streamdet.constants import RATE

Params = dict[str, Any]
"""Weights of a network: ``{layer: {tensor: array}}``, float32, numpy or JAX. A served tagger has
one such dict each for "vggish" and "tagger"."""


@dataclass(frozen=True)
class FrontendConfig:
    """The log-mel frontend; every field is part of a bundle's card.

    Lengths are in samples, frequencies in Hz. ``floor`` is added to the band power before the
    logarithm (a full-scale sine has power 1). ``mean`` and ``scale`` normalise the natural
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

    Encoder: ``conv`` holds (channels, kernel, stride) for each convolution over time; ``norm`` adds
    a layer normalisation (Ba et al., 2016) after each. ``patch`` (bands, stride) makes the first
    convolution slide over the bands too, with one kernel for all pitches; its channels at all
    positions are concatenated. ``residual`` holds (kernel, dilation) of causal convolutions whose
    output is added to their input. ``backgrounds`` are time constants, in frames, of running means
    of each band; for each, a copy of the bands minus that mean is added to the input.

    Recurrent head: ``cells`` holds the width of each LSTM; ``norm_cells`` adds a layer
    normalisation before each.
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
        """Log-mel frames per scored frame."""
        product = 1
        for _, _, stride in self.conv:
            product *= stride
        return product

    @property
    def positions(self) -> int:
        """Positions of the first convolution over the bands: 1 if it spans all of them."""
        return 1 if self.patch is None else (self.bands - self.patch[0]) // self.patch[1] + 1

    @property
    def views(self) -> int:
        """Copies of the bands in the encoder's input: the frames, and one for each background."""
        return 1 + len(self.backgrounds)

    def widths(self) -> list[int]:
        """The number of features that each convolution outputs per frame."""
        positions = [self.positions] + [1] * (len(self.conv) - 1)
        return [layer[0] * n for layer, n in zip(self.conv, positions, strict=True)]

    def tails(self) -> list[tuple[int, int]]:
        """The (frames, features) of past input that each convolution keeps, residual ones last."""
        inputs = [self.bands * self.views, *self.widths()]
        layers = zip(self.conv, inputs, strict=False)
        conv = [(kernel - stride, width) for (_, kernel, stride), width in layers]
        return conv + [((kernel - 1) * dilation, inputs[-1]) for kernel, dilation in self.residual]


@dataclass(frozen=True)
class VerifierConfig:
    """The shape of a verifier and its window; every field is part of a bundle's card.

    Convolutions over time and bands: ``conv`` holds (channels, kernel over time, kernel over bands,
    stride over time, stride over bands) of each, kernels odd; each is followed by a layer
    normalisation and ReLU. Then a dense layer of ``dense`` units and an LSTM of ``cells`` units in
    each direction.

    A window has ``before`` scored frames, the ``core`` whose scores count, and ``after`` frames.
    Its first and last frames are the context of the convolutions (`reach`).
    """

    bands: int = 64
    conv: tuple[tuple[int, int, int, int, int], ...] = (
        (32, 5, 7, 2, 4),
        (64, 5, 3, 2, 2),
        (128, 3, 3, 1, 2),
    )
    dense: int = 160
    cells: int = 96
    before: int = 44
    core: int = 14
    after: int = 18
    labels: tuple[str, ...] = ("gunshot",)

    @property
    def stride(self) -> int:
        """Log-mel frames per scored frame."""
        product = 1
        for layer in self.conv:
            product *= layer[3]
        return product

    @property
    def window(self) -> int:
        """Scored frames in a window."""
        return self.before + self.core + self.after

    @property
    def reach(self) -> tuple[int, int]:
        """Scored frames before and after one that its convolutions look at."""
        frames, step = 0, 1
        for _, kernel, _, stride, _ in self.conv:
            frames, step = frames + kernel // 2 * step, step * stride
        return -(-frames // step), max(0, -(-(frames + 1 - step) // step))

    def band_counts(self) -> list[int]:
        """The number of positions over the bands, before and after each convolution."""
        counts = [self.bands]
        for layer in self.conv:
            counts.append((counts[-1] - 1) // layer[4] + 1)
        return counts


def verifier_shapes(config: VerifierConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a verifier, by ``layer/tensor``."""
    shapes: dict[str, tuple[int, ...]] = {}
    width = 1
    for i, (channels, time, bands, _, _) in enumerate(config.conv):
        shapes[f"conv_{i}/kernel"] = (time, bands, width, channels)
        shapes[f"conv_{i}/bias"] = (channels,)
        shapes[f"norm_{i}/scale"] = shapes[f"norm_{i}/bias"] = (channels,)
        width = channels
    width *= config.band_counts()[-1]
    shapes["dense/kernel"] = (width, config.dense)
    shapes["dense/bias"] = (config.dense,)
    shapes["dense_norm/scale"] = shapes["dense_norm/bias"] = (config.dense,)
    for direction in ("forward", "backward"):
        shapes[f"{direction}/input_kernel"] = (config.dense, 4 * config.cells)
        shapes[f"{direction}/recurrent_kernel"] = (config.cells, 4 * config.cells)
        shapes[f"{direction}/bias"] = (4 * config.cells,)
    shapes["head/kernel"] = (2 * config.cells, len(config.labels))
    shapes["head/bias"] = (len(config.labels),)
    return shapes


def param_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a network, by ``layer/tensor``."""
    shapes: dict[str, tuple[int, ...]] = {}
    width = config.bands * config.views
    for i, ((channels, kernel, _), out) in enumerate(
        zip(config.conv, config.widths(), strict=True)
    ):
        patch = config.patch if i == 0 else None
        fan_in = width if patch is None else patch[0] * config.views
        shapes[f"conv_{i}/kernel"] = (kernel, fan_in, channels)
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
    """VGGish's frontend, in samples and Hz. ``offset`` is added to the magnitude of a band before
    the logarithm; ``patch`` is the number of frames per embedding."""

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
    """The shape of a tagger over ``(seconds, 128)`` embeddings. ``cells``: widths of its LSTMs.

    A ``last_state`` tagger follows the YouTube-8M starter code: unit-length frames, then a
    classifier over the last hidden and cell state of every layer, with ``mixtures`` experts, or
    logistic if 0. An ``attention`` tagger has a dense layer of ``dense`` units and LSTMs, in both
    directions if ``both_ways``; every class pools the states with its own attention (Kong et al.,
    *Audio Set Classification with Attention Model*, ICASSP 2018), and the dense layer's output too
    if ``skip``. A ``calibrated`` tagger ends with a common scale and a bias per class, so that its
    scores are probabilities.
    """

    pooling: Literal["last_state", "attention"] = "attention"
    cells: tuple[int, ...] = (384,)
    mixtures: int = 0
    dense: int = 512
    both_ways: bool = True
    skip: bool = False
    calibrated: bool = False
    classes: int = 527
