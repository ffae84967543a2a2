"""Export the detector's network as an ONNX graph for onnxruntime, for comparison.

The inputs are the log-mel frames of a block of fixed size and the state; the outputs are the logits
and the state after the block. The first convolution, over bands, becomes a two-dimensional one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from streamdet.model.config import ModelConfig, Params
from streamdet.model.filters import background_weights


class _OnnxGraph:
    """The nodes, weights, inputs and outputs of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.outputs: dict[str, str] = {}

    def add(self, kind: str, *inputs: str, outs: int = 1, **attributes: Any) -> Any:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outs == 1 else names

    def constant(self, array: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(np.array(shape, np.int64)))

    def slice(self, x: str, first: int, last: int, axis: int = 1) -> str:
        ends = [self.constant(np.array([n], np.int64)) for n in (first, last, axis)]
        return self.add("Slice", x, *ends)

    def normalise(self, x: str, layer: Params) -> str:
        scale, bias = (self.constant(layer[k]) for k in ("scale", "bias"))
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-6)

    def serialise(self, output: str, shape: tuple[int, ...]) -> bytes:
        def value_info(name: str, shape: tuple[int, ...]) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        for name, value in {"logits": output, **self.outputs}.items():
            self.nodes.append(helper.make_node("Identity", [value], [name]))
        graph = helper.make_graph(
            self.nodes,
            "detector",
            [value_info(k, v) for k, v in self.inputs.items()],
            [
                value_info("logits", shape),
                *(value_info(k, self.inputs[k.removesuffix("_after")]) for k in self.outputs),
            ],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 10
        onnx.checker.check_model(model)
        return model.SerializeToString()


def export_onnx(config: ModelConfig, params: Params, streams: int, frames: int) -> bytes:
    """Serialise the network for blocks of ``frames`` log-mel frames of ``streams`` streams.

    The inputs are ``frames`` (streams, frames, bands) and the states ``tail_i``, ``mean_i``,
    ``hidden_i`` and ``cell_i``. The outputs are ``logits`` and each state with ``_after``.
    """
    g = _OnnxGraph()
    g.inputs["frames"] = (streams, frames, config.bands)
    x, count = _add_views(g, config, streams, frames), frames
    widths = [config.bands * config.views, *config.widths()]
    for i, (channels, kernel, stride) in enumerate(config.conv):
        x = _add_tail(g, x, i, streams, kernel - stride, widths[i], count)
        count //= stride
        layer = params[f"conv_{i}"]
        bias = g.constant(layer["bias"])
        if i == 0 and config.patch is not None:
            high, step = config.patch
            w = layer["kernel"].reshape(kernel, config.views, high, channels).transpose(3, 1, 0, 2)
            x = g.reshape(x, streams, -1, config.views, config.bands)
            x = g.add("Transpose", x, perm=[0, 2, 1, 3])
            x = g.add("Conv", x, g.constant(w), bias, strides=[stride, step])
            x = g.reshape(g.add("Transpose", x, perm=[0, 2, 3, 1]), streams, count, -1)
        else:
            x = _add_conv(g, x, layer["kernel"], bias, stride, 1)
        x = g.add("Relu", g.normalise(x, params[f"norm_{i}"]) if config.norm else x)
    for i, (kernel, dilation) in enumerate(config.residual):
        k = len(config.conv) + i
        past = _add_tail(g, x, k, streams, (kernel - 1) * dilation, widths[-1], count)
        layer = params[f"residual_{i}"]
        out = _add_conv(g, past, layer["kernel"], g.constant(layer["bias"]), 1, dilation)
        out = g.add("Relu", g.normalise(out, params[f"residual_{i}_norm"]))
        x = g.add("Add", x, out)
    width = widths[-1]
    for i, cells in enumerate(config.cells):
        inputs = g.normalise(x, params[f"lstm_{i}_norm"]) if config.norm_cells else x
        out = _add_lstm(g, inputs, params[f"lstm_{i}"], i, streams, cells)
        x = g.add("Add", x, out) if width == cells else out
        width = cells
    x = g.add("MatMul", x, g.constant(params["head"]["kernel"]))
    x = g.add("Add", x, g.constant(params["head"]["bias"]))
    return g.serialise(x, (streams, count, len(config.labels)))


def _add_views(g: _OnnxGraph, config: ModelConfig, streams: int, frames: int) -> str:
    ticks = frames // config.stride
    strides = g.reshape("frames", streams, ticks, config.stride, config.bands)
    average = g.add("ReduceMean", strides, axes=[2], keepdims=0)
    views = ["frames"]
    for i, constant in enumerate(config.backgrounds):
        g.inputs[f"mean_{i}"] = (streams, config.bands)
        mix, faded = background_weights(constant, config.stride, ticks)
        old_mean = g.reshape(f"mean_{i}", streams, 1, config.bands)
        old_mean = g.add("Mul", old_mean, g.constant(faded[:, None]))
        levels = g.add("Add", old_mean, g.add("MatMul", g.constant(mix), average))
        levels_before = g.reshape(g.slice(levels, 0, ticks), streams, ticks, 1, config.bands)
        over = g.add("Sub", strides, levels_before)
        views.append(g.reshape(over, streams, frames, config.bands))
        after = g.slice(levels, ticks, ticks + 1)
        g.outputs[f"mean_{i}_after"] = g.reshape(after, streams, config.bands)
    return g.add("Concat", *views, axis=2)


def _add_tail(
    g: _OnnxGraph, x: str, i: int, streams: int, length: int, width: int, count: int
) -> str:
    g.inputs[f"tail_{i}"] = (streams, length, width)
    past = g.add("Concat", f"tail_{i}", x, axis=1)
    g.outputs[f"tail_{i}_after"] = g.slice(past, count, count + length)
    return past


def _add_conv(
    g: _OnnxGraph, x: str, kernel: np.ndarray, bias: str, stride: int, dilation: int
) -> str:
    x = g.add("Transpose", x, perm=[0, 2, 1])
    w = g.constant(kernel.transpose(2, 1, 0))
    x = g.add("Conv", x, w, bias, strides=[stride], dilations=[dilation])
    return g.add("Transpose", x, perm=[0, 2, 1])


def _add_lstm(g: _OnnxGraph, x: str, layer: Params, i: int, streams: int, cells: int) -> str:
    g.inputs[f"hidden_{i}"] = g.inputs[f"cell_{i}"] = (streams, cells)

    def gates(w: np.ndarray) -> np.ndarray:
        enter, forget, candidate, leave = np.split(w, 4, axis=-1)
        return np.concatenate([enter, leave, forget, candidate], axis=-1).T[None]

    bias = np.concatenate([gates(layer["bias"]), np.zeros((1, 4 * cells), np.float32)], axis=1)
    states = [g.reshape(f"{name}_{i}", 1, streams, cells) for name in ("hidden", "cell")]
    weights = [g.constant(gates(layer[k])) for k in ("input_kernel", "recurrent_kernel")]
    x = g.add("Transpose", x, perm=[1, 0, 2])
    y, hidden, cell = g.add(
        "LSTM", x, *weights, g.constant(bias), "", *states, outs=3, hidden_size=cells
    )
    for name, after in (("hidden", hidden), ("cell", cell)):
        g.outputs[f"{name}_{i}_after"] = g.reshape(after, streams, cells)
    return g.add("Transpose", g.add("Squeeze", y, g.constant(np.array([1]))), perm=[1, 0, 2])
