"""The frontend and the detector once more, in numpy alone: for where JAX costs too much.

A daemon with a few streams needs neither JAX's memory nor its start, and nor does a short file.
``step(ready, state, samples) -> (state, frames, logits)`` is `streamdet.model.frontend.step` and
`streamdet.model.network.step` after each other, to 1e-5, which tests hold it to for networks of any
shape; the compiled form is the definition, this one follows it. Training has no use for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from streamdet.model.config import FrontendConfig, ModelConfig, Params
from streamdet.model.filters import background_weights, hann, mel_matrix

Array = np.ndarray


class NumpyState(NamedTuple):
    """As `lstm.ModelState` and `frontend.FrontendState` have it, all float32: ``tail`` (streams,
    k) samples, ``tails`` (streams, frames, channels) for each convolution, ``background``
    (streams, bands) for each mean, ``lstm`` a (hidden, cell) for each LSTM, (streams, cells)."""

    tail: Array
    tails: tuple[Array, ...]
    background: tuple[Array, ...]
    lstm: tuple[tuple[Array, Array], ...]


class NumpyWeights(NamedTuple):
    """A detector with its weights as `step` wants them: kernels as matrices, and those of the
    LSTMs by `_gates`."""

    front: FrontendConfig
    model: ModelConfig
    params: Params


def prepare_weights(front: FrontendConfig, model: ModelConfig, params: Params) -> NumpyWeights:
    """Lay a bundle's weights out for `step`."""
    laid = {layer: dict(tensors) for layer, tensors in params.items()}
    for i in range(len(model.conv)):
        kernel = laid[f"conv_{i}"]["kernel"]
        laid[f"conv_{i}"]["kernel"] = kernel.reshape(-1, kernel.shape[2])
        if i == 0 and model.patch is not None:
            laid["conv_0"] = _by_group(model, model.patch, kernel, laid["conv_0"]["bias"])
    for i in range(len(model.residual)):
        kernel = laid[f"residual_{i}"]["kernel"]
        laid[f"residual_{i}"]["kernel"] = kernel.reshape(-1, kernel.shape[2])
    for i in range(len(model.cells)):
        laid[f"lstm_{i}"] = {name: _gates(w) for name, w in laid[f"lstm_{i}"].items()}
    return NumpyWeights(front, model, laid)


def init(front: FrontendConfig, model: ModelConfig, streams: int) -> NumpyState:
    """The state of ``streams`` streams that have heard nothing."""
    cells = [np.zeros((2, streams, c), np.float32) for c in model.cells]
    return NumpyState(
        np.zeros((streams, front.window - front.hop), np.float32),
        tuple(np.zeros((streams, *tail), np.float32) for tail in model.tails()),
        tuple(np.zeros((streams, model.bands), np.float32) for _ in model.backgrounds),
        tuple((hidden, cell) for hidden, cell in cells),
    )


def step(
    weights: NumpyWeights, state: NumpyState, samples: Array
) -> tuple[NumpyState, Array, Array]:
    """``(streams, n) float32`` samples, n a multiple of hop * stride, to ``(streams, n / hop,
    bands)`` log-mel frames and ``(streams, n / hop / stride, labels)`` logits."""
    tail, frames = log_mel(weights.front, state.tail, samples)
    state, logits = run_network(weights, state._replace(tail=tail), frames)
    return state, frames, logits


def run_network(
    weights: NumpyWeights, state: NumpyState, frames: Array
) -> tuple[NumpyState, Array]:
    """`streamdet.model.network.step`: ``(streams, f, bands)`` to ``(streams, f / stride, labels)``."""
    background, views = _backgrounds(weights.model, state.background, frames)
    tails, x = _convolve(weights, state.tails, views)
    memory = []
    for i, (hidden, cell) in enumerate(state.lstm):
        heard = _normalise(x, weights.params[f"lstm_{i}_norm"]) if weights.model.norm_cells else x
        carried, out = _lstm(weights.params[f"lstm_{i}"], hidden, cell, heard)
        x = x + out if x.shape[-1] == out.shape[-1] else out
        memory.append(carried)
    logits = x @ weights.params["head"]["kernel"] + weights.params["head"]["bias"]
    return NumpyState(state.tail, tails, background, tuple(memory)), logits


def log_mel(config: FrontendConfig, tail: Array, samples: Array) -> tuple[Array, Array]:
    """`streamdet.model.frontend.step` for whole hops: the new tail, and the frames."""
    heard = np.concatenate([tail, samples], axis=1)
    windows = sliding_window_view(heard, config.window, axis=1)[:, :: config.hop]
    taper = hann(config.window)
    # in double precision, in which numpy's transform is several times as fast as in single
    spectrum = np.fft.rfft(windows * (taper * (2.0 / taper.sum())).astype(np.float64), config.n_fft)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    mel = power @ mel_matrix(config)
    frames = (np.log(mel + np.float32(config.floor)) - config.mean) / config.scale
    return heard[:, samples.shape[1] :], frames


def _backgrounds(
    config: ModelConfig, means: tuple[Array, ...], frames: Array
) -> tuple[tuple[Array, ...], Array]:
    """`streamdet.model.band_conv.above_background` for each mean: ``(streams, f, views * bands)``."""
    streams, count, bands = frames.shape
    views, after = [frames], []
    strides = frames.reshape(streams, -1, config.stride, bands)
    average = strides.mean(axis=2)
    for constant, mean in zip(config.backgrounds, means, strict=True):
        mix, faded = background_weights(constant, config.stride, count // config.stride)
        levels = faded[:, None] * mean[:, None] + mix @ average
        views.append((strides - levels[:, :-1, None]).reshape(frames.shape))
        after.append(levels[:, -1])
    return tuple(after), np.concatenate(views, axis=2)


def _convolve(
    weights: NumpyWeights, tails: tuple[Array, ...], x: Array
) -> tuple[tuple[Array, ...], Array]:
    config, kept = weights.model, []
    for i, (_, kernel, stride) in enumerate(config.conv):
        past = np.concatenate([tails[i], x], axis=1)
        kept.append(past[:, past.shape[1] - (kernel - stride) :])
        layer = weights.params[f"conv_{i}"]
        if i == 0 and config.patch is not None:
            x = _over_bands(config, config.patch, layer, past, kernel, stride)
        else:
            x = _dense(layer, past, kernel, stride)
        x = np.maximum(_normalise(x, weights.params[f"norm_{i}"]) if config.norm else x, 0.0)
    for i, (kernel, dilation) in enumerate(config.residual):
        past = np.concatenate([tails[len(config.conv) + i], x], axis=1)
        kept.append(past[:, past.shape[1] - (kernel - 1) * dilation :])
        out = _dense(weights.params[f"residual_{i}"], past, kernel, 1, dilation)
        x = x + np.maximum(_normalise(out, weights.params[f"residual_{i}_norm"]), 0.0)
    return tuple(kept), x


def _taps(past: Array, kernel: int, stride: int, dilation: int = 1) -> Array:
    """What each tick of a kernel looks at, laid end to end on the last axis."""
    span = (past.shape[1] - (kernel - 1) * dilation - 1) // stride * stride + 1
    return np.concatenate(
        [past[:, at * dilation : at * dilation + span : stride] for at in range(kernel)], axis=-1
    )


def _dense(layer: Params, past: Array, kernel: int, stride: int, dilation: int = 1) -> Array:
    return _taps(past, kernel, stride, dilation) @ layer["kernel"] + layer["bias"]


def _by_group(config: ModelConfig, patch: tuple[int, int], kernel: Array, bias: Array) -> Params:
    """The kernel of `streamdet.model.band_conv.BandConv` as a matrix from a group of bands, over time
    and views, to what each part of it adds to a position."""
    (high, step), (taps, _, channels) = patch, kernel.shape
    parts = -(-high // step)
    cut = np.zeros((taps, config.views, parts * step, channels), np.float32)
    cut[:, :, :high] = kernel.reshape(taps, config.views, high, channels)
    cut = cut.reshape(taps, config.views, parts, step, channels).swapaxes(2, 3)
    return {"kernel": cut.reshape(-1, parts * channels), "bias": np.tile(bias, config.positions)}


def _over_bands(
    config: ModelConfig,
    patch: tuple[int, int],
    layer: Params,
    past: Array,
    kernel: int,
    stride: int,
) -> Array:
    (high, step), positions, views = patch, config.positions, config.views
    parts = -(-high // step)
    groups = positions + parts - 1
    x = past.reshape(*past.shape[:2], views, -1)[..., : groups * step]
    if x.shape[3] < groups * step:
        x = np.pad(x, ((0, 0),) * 3 + ((0, groups * step - x.shape[3]),))
    x = x.reshape(*x.shape[:3], groups, step).swapaxes(2, 3)
    x = np.ascontiguousarray(x).reshape(*x.shape[:3], -1)
    shares = _taps(x, kernel, stride) @ layer["kernel"]
    shares = shares.reshape(*shares.shape[:3], parts, -1)
    out = shares[:, :, :positions, 0]
    for part in range(1, parts):
        out = out + shares[:, :, part : part + positions, part]
    return out.reshape(*out.shape[:2], -1) + layer["bias"]


def _normalise(x: Array, layer: Params) -> Array:
    """Layer normalisation, as flax has it; a product with a column is the fastest sum here."""
    share = np.full((x.shape[-1], 1), 1.0 / x.shape[-1], np.float32)
    x = x - x @ share
    x *= 1.0 / np.sqrt(np.square(x) @ share + np.float32(1e-6))
    x *= layer["scale"]
    x += layer["bias"]
    return x


def _gates(weights: Array) -> Array:
    """The last axis from (input, forget, candidate, output) to (input, forget, output, candidate),
    and all but the candidate halved: sigmoid(x) is (1 + tanh(x / 2)) / 2, so that one tanh does."""
    enter, forget, candidate, leave = np.split(weights, 4, axis=-1)
    half = np.float32(0.5)
    return np.concatenate([enter * half, forget * half, leave * half, candidate], axis=-1)


def _lstm(layer: Params, hidden: Array, cell: Array, x: Array) -> tuple[tuple[Array, Array], Array]:
    driven = x @ layer["input_kernel"] + layer["bias"]
    recurrent, cells = layer["recurrent_kernel"], cell.shape[1]
    out = np.empty((*x.shape[:2], cells), np.float32)
    for tick in range(x.shape[1]):
        gates = hidden @ recurrent
        gates += driven[:, tick]
        np.tanh(gates, out=gates)
        doors = gates[:, : 3 * cells]
        doors += 1.0
        doors *= 0.5
        cell = doors[:, cells : 2 * cells] * cell + doors[:, :cells] * gates[:, 3 * cells :]
        hidden = doors[:, 2 * cells :] * np.tanh(cell)
        out[:, tick] = hidden
    return (hidden, cell), out
