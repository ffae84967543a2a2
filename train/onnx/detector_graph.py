"""The first stage as an ONNX graph: encoder and recurrent head."""

from __future__ import annotations

import numpy as np

from streamdet.model.config import ModelConfig, Params
from train.onnx.graph import GraphBuilder


def build_detector_graph(config: ModelConfig, params: Params, weights_sha256: str) -> bytes:
    """The network for any number of streams and frames.

    The inputs are ``frames`` (streams, frames, bands) and the state, with the shapes of
    `streamdet.model.numpy_network.NumpyState`: ``mean_i`` for each background, ``tail_i`` for each
    convolution, ``hidden_i`` and ``cell_i`` for each LSTM. ``mix_i`` and ``decay_i`` are the
    `streamdet.model.filters.background_weights` of each background for the number of frames. The
    outputs are ``logits`` (streams, frames / stride, labels) and each state with ``_after``.
    """
    g = GraphBuilder()
    g.inputs["frames"] = ("streams", "frames", config.bands)
    x = _add_convolutions(g, config, params, _add_views(g, config))
    width = config.widths()[-1]
    for i, cells in enumerate(config.cells):
        layer_input = g.normalise(x, params[f"lstm_{i}_norm"]) if config.norm_cells else x
        out = _add_lstm(g, layer_input, params, i, cells)
        x = g.add("Add", x, out) if width == cells else out
        width = cells
    logits = g.linear(x, params["head"]["kernel"], params["head"]["bias"])
    g.outputs["logits"] = (logits, ("streams", "ticks", len(config.labels)))
    return g.serialise("detector", weights_sha256)


def _add_views(g: GraphBuilder, config: ModelConfig) -> str:
    """`streamdet.model.band_conv.subtract_background` for each background."""
    if not config.backgrounds:
        return "frames"
    strides = g.reshape("frames", 0, -1, config.stride, config.bands)
    average, views = g.add("ReduceMean", strides, axes=[2], keepdims=0), ["frames"]
    first, second = (g.constant(np.array([axis], np.int64)) for axis in (1, 2))
    for i in range(len(config.backgrounds)):
        g.inputs[f"mean_{i}"] = ("streams", config.bands)
        g.inputs[f"mix_{i}"], g.inputs[f"decay_{i}"] = ("updates", "ticks"), ("updates", 1)
        faded = g.add("Mul", g.add("Unsqueeze", f"mean_{i}", first), f"decay_{i}")
        levels = g.add("Add", faded, g.add("MatMul", f"mix_{i}", average))
        before = g.add("Unsqueeze", g.slice(levels, 0, -1, axis=1), second)
        views.append(g.reshape(g.add("Sub", strides, before), 0, -1, config.bands))
        after = g.add("Squeeze", g.slice(levels, -1, None, axis=1), first)
        g.outputs[f"mean_{i}_after"] = (after, ("streams", config.bands))
    return g.add("Concat", *views, axis=2)


def _add_convolutions(g: GraphBuilder, config: ModelConfig, params: Params, x: str) -> str:
    for i, (channels, kernel, stride) in enumerate(config.conv):
        x, layer = _add_tail(g, config, x, i), params[f"conv_{i}"]
        if i == 0 and config.patch is not None:
            x = _add_band_conv(g, config, config.patch, x, layer, (channels, kernel, stride))
        else:
            x = _add_conv(g, x, layer, stride, 1)
        x = g.add("Relu", g.normalise(x, params[f"norm_{i}"]) if config.norm else x)
    for i, (_, dilation) in enumerate(config.residual):
        past = _add_tail(g, config, x, len(config.conv) + i)
        out = _add_conv(g, past, params[f"residual_{i}"], 1, dilation)
        out = g.add("Relu", g.normalise(out, params[f"residual_{i}_norm"]))
        x = g.add("Add", x, out)
    return x


def _add_tail(g: GraphBuilder, config: ModelConfig, x: str, i: int) -> str:
    """Put the frames that a convolution remembers before ``x``, and keep the last of them."""
    length, width = config.tails()[i]
    g.inputs[f"tail_{i}"] = ("streams", length, width)
    extended = g.add("Concat", f"tail_{i}", x, axis=1) if length else x
    last = g.slice(extended, -length, None, axis=1) if length else f"tail_{i}"
    g.outputs[f"tail_{i}_after"] = (last, ("streams", length, width))
    return extended


def _add_band_conv(
    g: GraphBuilder,
    config: ModelConfig,
    patch: tuple[int, int],
    x: str,
    layer: dict[str, np.ndarray],
    shape: tuple[int, int, int],
) -> str:
    """`streamdet.model.band_conv.BandConv` as a two-dimensional convolution."""
    (height, step), (channels, kernel, stride) = patch, shape
    weights = np.asarray(layer["kernel"]).reshape(kernel, config.views, height, channels)
    x = g.add("Transpose", g.reshape(x, 0, -1, config.views, config.bands), perm=[0, 2, 1, 3])
    tensors = (g.constant(weights.transpose(3, 1, 0, 2)), g.constant(layer["bias"]))
    x = g.add("Conv", x, *tensors, strides=[stride, step])
    return g.reshape(g.add("Transpose", x, perm=[0, 2, 3, 1]), 0, -1, config.positions * channels)


def _add_conv(
    g: GraphBuilder, x: str, layer: dict[str, np.ndarray], stride: int, dilation: int
) -> str:
    weights = g.constant(np.asarray(layer["kernel"]).transpose(2, 1, 0))
    x = g.add("Transpose", x, perm=[0, 2, 1])
    x = g.add("Conv", x, weights, g.constant(layer["bias"]), strides=[stride], dilations=[dilation])
    return g.add("Transpose", x, perm=[0, 2, 1])


def _add_lstm(g: GraphBuilder, x: str, params: Params, i: int, cells: int) -> str:
    names = (f"hidden_{i}", f"cell_{i}")
    axis = g.constant(np.array([0], np.int64))
    for name in names:
        g.inputs[name] = ("streams", cells)
    states = tuple(g.add("Unsqueeze", name, axis) for name in names)
    x = g.add("Transpose", x, perm=[1, 0, 2])
    out, *after = g.lstm(x, params[f"lstm_{i}"], states)
    for name, state in zip(names, after, strict=True):
        g.outputs[f"{name}_after"] = (g.add("Squeeze", state, axis), ("streams", cells))
    out = g.add("Squeeze", out, g.constant(np.array([1], np.int64)))
    return g.add("Transpose", out, perm=[1, 0, 2])
