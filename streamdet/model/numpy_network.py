"""The frontend, the encoder and the recurrent head in numpy alone, for inference.

It saves the memory and the start-up time of JAX for a daemon with a few streams and for short
files. ``step(weights, state, samples) -> (state, frames, logits)`` equals
`streamdet.model.frontend.step` followed by `streamdet.model.network.step` to 1e-5. The JAX version
is the definition; tests compare the two for networks of many shapes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from streamdet.model.config import FrontendConfig, ModelConfig, Params
from streamdet.model.filters import background_weights, hann, mel_matrix

Array = np.ndarray


class NumpyState(NamedTuple):
    """The contents of `FrontendState`, `EncoderState` and the head's `LstmState`, all float32.

    ``tail``: (streams, k) samples. ``tails``: (streams, frames, channels) for each convolution.
    ``background``: (streams, bands) for each mean. ``lstm``: (hidden, cell) for each LSTM, both
    (streams, cells).
    """

    tail: Array
    tails: tuple[Array, ...]
    background: tuple[Array, ...]
    lstm: tuple[tuple[Array, Array], ...]


class NumpyWeights(NamedTuple):
    """A detector's weights in the layout of `step`: convolution kernels as matrices, LSTM gates
    reordered by `_reorder_gates`."""

    front: FrontendConfig
    model: ModelConfig
    params: Params


def prepare_weights(front: FrontendConfig, model: ModelConfig, params: Params) -> NumpyWeights:
    """Convert the weights of a bundle to the layout of `step`."""
    converted = {layer: dict(tensors) for layer, tensors in params.items()}
    for i in range(len(model.conv)):
        kernel = converted[f"conv_{i}"]["kernel"]
        converted[f"conv_{i}"]["kernel"] = kernel.reshape(-1, kernel.shape[2])
        if i == 0 and model.patch is not None:
            converted["conv_0"] = _group_kernel(
                model, model.patch, kernel, converted["conv_0"]["bias"]
            )
    for i in range(len(model.residual)):
        kernel = converted[f"residual_{i}"]["kernel"]
        converted[f"residual_{i}"]["kernel"] = kernel.reshape(-1, kernel.shape[2])
    for i in range(len(model.cells)):
        converted[f"lstm_{i}"] = {
            name: reorder_gates(w) for name, w in converted[f"lstm_{i}"].items()
        }
    return NumpyWeights(front, model, converted)


def init(front: FrontendConfig, model: ModelConfig, streams: int) -> NumpyState:
    """The initial state of ``streams`` streams."""
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
    """``(streams, n) float32`` samples, n a multiple of hop * stride, to log-mel frames
    ``(streams, n / hop, bands)`` and logits ``(streams, n / hop / stride, labels)``."""
    tail, frames = log_mel(weights.front, state.tail, samples)
    state, logits = run_network(weights, state._replace(tail=tail), frames)
    return state, frames, logits


def run_network(
    weights: NumpyWeights, state: NumpyState, frames: Array
) -> tuple[NumpyState, Array]:
    """`streamdet.model.network.step`: frames ``(streams, f, bands)`` to logits ``(streams, f /
    stride, labels)``."""
    background, views = _add_background_views(weights.model, state.background, frames)
    tails, x = _convolve(weights, state.tails, views)
    carried = []
    for i, (hidden, cell) in enumerate(state.lstm):
        norm = weights.params[f"lstm_{i}_norm"] if weights.model.norm_cells else None
        layer_input = x if norm is None else normalise(x, norm)
        lstm_state, out = run_lstm(weights.params[f"lstm_{i}"], hidden, cell, layer_input)
        x = x + out if x.shape[-1] == out.shape[-1] else out
        carried.append(lstm_state)
    logits = x @ weights.params["head"]["kernel"] + weights.params["head"]["bias"]
    return NumpyState(state.tail, tails, background, tuple(carried)), logits


def log_mel(config: FrontendConfig, tail: Array, samples: Array) -> tuple[Array, Array]:
    """`streamdet.model.frontend.step` for whole hops; returns the new tail and the frames."""
    extended = np.concatenate([tail, samples], axis=1)
    shape = (len(extended), samples.shape[1] // config.hop, config.window)
    row, item = extended.strides
    windows = as_strided(extended, shape, (row, item * config.hop, item), writeable=False)
    # numpy's transform is several times faster in double precision than in single, and a third
    # faster if it need not pad.
    padded = np.empty((*shape[:2], config.n_fft))
    padded[..., config.window :] = 0.0
    np.multiply(windows, _taper(config.window), out=padded[..., : config.window])
    parts = np.fft.rfft(padded).view(np.float64)
    np.square(parts, out=parts)
    power = np.empty((*shape[:2], config.n_fft // 2 + 1), np.float32)
    np.add(parts[..., ::2], parts[..., 1::2], out=power, casting="same_kind")
    frames = power @ mel_matrix(config)
    frames += np.float32(config.floor)
    np.log(frames, out=frames)
    frames -= config.mean
    frames /= config.scale
    return extended[:, samples.shape[1] :], frames


@lru_cache(maxsize=8)
def _taper(window: int) -> Array:
    """The window of a spectrum in which a full-scale sine has power 1, (window,) float64."""
    taper = hann(window)
    return (taper * (2.0 / taper.sum())).astype(np.float64)


def _add_background_views(
    config: ModelConfig, means: tuple[Array, ...], frames: Array
) -> tuple[tuple[Array, ...], Array]:
    """`streamdet.model.band_conv.subtract_background` for each mean; returns the new means and
    ``(streams, f, views * bands)``."""
    streams, count, bands = frames.shape
    views, updated = [frames], []
    strides = frames.reshape(streams, -1, config.stride, bands)
    average = strides.mean(axis=2)
    for constant, mean in zip(config.backgrounds, means, strict=True):
        mix, decay = background_weights(constant, config.stride, count // config.stride)
        levels = decay[:, None] * mean[:, None] + mix @ average
        views.append((strides - levels[:, :-1, None]).reshape(frames.shape))
        updated.append(levels[:, -1])
    return tuple(updated), np.concatenate(views, axis=2)


def _convolve(
    weights: NumpyWeights, tails: tuple[Array, ...], x: Array
) -> tuple[tuple[Array, ...], Array]:
    config, new_tails = weights.model, []
    for i, (_, kernel, stride) in enumerate(config.conv):
        extended = np.concatenate([tails[i], x], axis=1)
        new_tails.append(extended[:, extended.shape[1] - (kernel - stride) :])
        layer = weights.params[f"conv_{i}"]
        if i == 0 and config.patch is not None:
            x = _band_conv(config, config.patch, layer, extended, kernel, stride)
        else:
            x = _conv(layer, extended, kernel, stride)
        x = np.maximum(normalise(x, weights.params[f"norm_{i}"]) if config.norm else x, 0.0)
    for i, (kernel, dilation) in enumerate(config.residual):
        extended = np.concatenate([tails[len(config.conv) + i], x], axis=1)
        new_tails.append(extended[:, extended.shape[1] - (kernel - 1) * dilation :])
        out = _conv(weights.params[f"residual_{i}"], extended, kernel, 1, dilation)
        x = x + np.maximum(normalise(out, weights.params[f"residual_{i}_norm"]), 0.0)
    return tuple(new_tails), x


def _taps(x: Array, kernel: int, stride: int, dilation: int = 1) -> Array:
    """The frames under the kernel at each tick, concatenated on the last axis."""
    span = (x.shape[1] - (kernel - 1) * dilation - 1) // stride * stride + 1
    return np.concatenate(
        [x[:, at * dilation : at * dilation + span : stride] for at in range(kernel)], axis=-1
    )


def _conv(layer: Params, x: Array, kernel: int, stride: int, dilation: int = 1) -> Array:
    return _taps(x, kernel, stride, dilation) @ layer["kernel"] + layer["bias"]


def _group_kernel(
    config: ModelConfig, patch: tuple[int, int], kernel: Array, bias: Array
) -> Params:
    """The kernel of `streamdet.model.band_conv.BandConv` as a matrix from one group of bands, over
    time and views, to its contribution to each position that covers it."""
    (height, step), (taps, _, channels) = patch, kernel.shape
    parts = -(-height // step)
    padded = np.zeros((taps, config.views, parts * step, channels), np.float32)
    padded[:, :, :height] = kernel.reshape(taps, config.views, height, channels)
    padded = padded.reshape(taps, config.views, parts, step, channels).swapaxes(2, 3)
    matrix = padded.reshape(-1, parts * channels)
    return {"kernel": matrix, "bias": np.tile(bias, config.positions)}


def _band_conv(
    config: ModelConfig,
    patch: tuple[int, int],
    layer: Params,
    x: Array,
    kernel: int,
    stride: int,
) -> Array:
    (height, step), positions, views = patch, config.positions, config.views
    parts = -(-height // step)
    groups = positions + parts - 1
    x = x.reshape(*x.shape[:2], views, -1)[..., : groups * step]
    if x.shape[3] < groups * step:
        x = np.pad(x, ((0, 0),) * 3 + ((0, groups * step - x.shape[3]),))
    x = x.reshape(*x.shape[:3], groups, step).swapaxes(2, 3)
    x = np.ascontiguousarray(x).reshape(*x.shape[:3], -1)
    products = _taps(x, kernel, stride) @ layer["kernel"]
    products = products.reshape(*products.shape[:3], parts, -1)
    out = products[:, :, :positions, 0]
    for part in range(1, parts):
        out = out + products[:, :, part : part + positions, part]
    return out.reshape(*out.shape[:2], -1) + layer["bias"]


def normalise(x: Array, layer: Params) -> Array:
    """Layer normalisation, as in flax. A product with a column is the fastest mean here."""
    mean = np.full((x.shape[-1], 1), 1.0 / x.shape[-1], np.float32)
    x = x - x @ mean
    x *= 1.0 / np.sqrt(np.square(x) @ mean + np.float32(1e-6))
    x *= layer["scale"]
    x += layer["bias"]
    return x


def reorder_gates(weights: Array) -> Array:
    """Reorder the last axis from (input, forget, candidate, output) to (input, forget, output,
    candidate), and halve all but the candidate. sigmoid(x) = (1 + tanh(x / 2)) / 2, so one tanh
    then serves all gates."""
    enter, forget, candidate, leave = np.split(weights, 4, axis=-1)
    half = np.float32(0.5)
    return np.concatenate([enter * half, forget * half, leave * half, candidate], axis=-1)


def run_lstm(
    layer: Params, hidden: Array, cell: Array, x: Array
) -> tuple[tuple[Array, Array], Array]:
    """Run an LSTM with `reorder_gates` weights over ``(streams, t, width)``. ``hidden`` and
    ``cell`` are (streams, cells); returns their new values and ``(streams, t, cells)``."""
    projected = x @ layer["input_kernel"] + layer["bias"]
    recurrent, cells = layer["recurrent_kernel"], cell.shape[1]
    out = np.empty((*x.shape[:2], cells), np.float32)
    for tick in range(x.shape[1]):
        gates = _multiply_rows(hidden, recurrent)
        gates += projected[:, tick]
        hidden, cell = _apply_gates(gates, cell)
        out[:, tick] = hidden
    return (hidden, cell), out


def run_lstm_both_ways(forward: Params, backward: Params, x: Array, core: slice) -> Array:
    """Run two LSTMs with `reorder_gates` weights from zero states over ``(n, t, width)``, one of
    them from the end; returns the frames in ``core``, (n, core, 2 * cells).

    Each runs as far as the core needs. They take their last steps together, which saves calls.
    """
    layers = (forward, backward)
    ways = (x[:, : core.stop], x[:, core.start :][:, ::-1])
    count, common = core.stop - core.start, min(way.shape[1] for way in ways)
    cells = forward["recurrent_kernel"].shape[0]
    zeros = np.zeros((len(x), cells), np.float32)
    states, projected = [], []
    for layer, way in zip(layers, ways, strict=True):
        alone = way.shape[1] - common
        states.append(run_lstm(layer, zeros, zeros, way[:, :alone])[0])
        projected.append(way[:, alone:] @ layer["input_kernel"] + layer["bias"])
    gate_inputs = np.ascontiguousarray(np.stack(projected).transpose(2, 0, 1, 3))
    recurrent = np.stack([layer["recurrent_kernel"] for layer in layers])
    hidden, cell = (np.stack(both) for both in zip(*states, strict=True))
    out = np.empty((common, *hidden.shape), np.float32)
    for tick in range(common):
        gates = _multiply_rows(hidden, recurrent)
        gates += gate_inputs[tick]
        hidden, cell = _apply_gates(gates, cell)
        out[tick] = hidden
    both = (out[-count:, 0], out[-count:, 1][::-1])
    return np.concatenate(both, axis=-1).swapaxes(0, 1)


def _multiply_rows(rows: Array, matrix: Array) -> Array:
    """``(..., n, cells) @ (..., cells, k)``. Up to 3 rows are faster one by one: for several at
    once, BLAS copies the matrix first."""
    if rows.shape[-2] > 3:
        return rows @ matrix
    return (rows[..., None, :] @ matrix[..., None, :, :])[..., 0, :]


def _apply_gates(gates: Array, cell: Array) -> tuple[Array, Array]:
    """New hidden and cell values, ``(..., cells)``; ``gates`` are changed."""
    cells = cell.shape[-1]
    np.tanh(gates, out=gates)
    sigmoids = gates[..., : 3 * cells]
    sigmoids += 1.0
    sigmoids *= 0.5
    cell = sigmoids[..., cells : 2 * cells] * cell + sigmoids[..., :cells] * gates[..., 3 * cells :]
    return sigmoids[..., 2 * cells :] * np.tanh(cell), cell
