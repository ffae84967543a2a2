"""The detector's network as an ONNX graph for onnxruntime: what one would export and run instead.

Log-mel frames and the state of a block of one fixed size in, log-odds and the state after it out.
The kernel over the bands is the two-dimensional convolution that it is in words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from streamdet.model.config import ModelConfig, Params
from streamdet.model.filters import background_weights


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.outputs: dict[str, str] = {}

    def add(self, kind: str, *of: str, outs: int = 1, **attributes: Any) -> Any:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outs)]
        self.nodes.append(helper.make_node(kind, list(of), names, **attributes))
        return names[0] if outs == 1 else names

    def constant(self, array: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def shape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(np.array(shape, np.int64)))

    def cut(self, x: str, first: int, last: int, axis: int = 1) -> str:
        at = [self.constant(np.array([n], np.int64)) for n in (first, last, axis)]
        return self.add("Slice", x, *at)

    def normalised(self, x: str, layer: Params) -> str:
        scale, bias = (self.constant(layer[k]) for k in ("scale", "bias"))
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-6)

    def model(self, output: str, shape: tuple[int, ...]) -> bytes:
        say = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)  # noqa: E731
        for name, of in {"logits": output, **self.outputs}.items():
            self.nodes.append(helper.make_node("Identity", [of], [name]))
        graph = helper.make_graph(
            self.nodes,
            "detector",
            [say(k, v) for k, v in self.inputs.items()],
            [
                say("logits", shape),
                *(say(k, self.inputs[k.removesuffix("_after")]) for k in self.outputs),
            ],
            self.weights,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        made.ir_version = 10
        onnx.checker.check_model(made)
        return made.SerializeToString()


def exported(config: ModelConfig, params: Params, streams: int, frames: int) -> bytes:
    """A serialised model whose inputs are ``frames`` (streams, frames, bands) and the states
    ``tail_i``, ``mean_i``, ``hidden_i``, ``cell_i``; its outputs ``logits`` and each state with
    ``_after``."""
    g = _Graph()
    g.inputs["frames"] = (streams, frames, config.bands)
    x, count = _views(g, config, streams, frames), frames
    widths = [config.bands * config.views, *config.widths()]
    for i, (channels, kernel, stride) in enumerate(config.conv):
        x = _with_tail(g, x, i, streams, kernel - stride, widths[i], count)
        count //= stride
        layer = params[f"conv_{i}"]
        bias = g.constant(layer["bias"])
        if i == 0 and config.patch is not None:
            high, step = config.patch
            w = layer["kernel"].reshape(kernel, config.views, high, channels).transpose(3, 1, 0, 2)
            x = g.shape(x, streams, -1, config.views, config.bands)
            x = g.add("Transpose", x, perm=[0, 2, 1, 3])
            x = g.add("Conv", x, g.constant(w), bias, strides=[stride, step])
            x = g.shape(g.add("Transpose", x, perm=[0, 2, 3, 1]), streams, count, -1)
        else:
            x = _conv(g, x, layer["kernel"], bias, stride, 1)
        x = g.add("Relu", g.normalised(x, params[f"norm_{i}"]) if config.norm else x)
    for i, (kernel, dilation) in enumerate(config.residual):
        k = len(config.conv) + i
        past = _with_tail(g, x, k, streams, (kernel - 1) * dilation, widths[-1], count)
        layer = params[f"residual_{i}"]
        out = _conv(g, past, layer["kernel"], g.constant(layer["bias"]), 1, dilation)
        out = g.add("Relu", g.normalised(out, params[f"residual_{i}_norm"]))
        x = g.add("Add", x, out)
    width = widths[-1]
    for i, cells in enumerate(config.cells):
        heard = g.normalised(x, params[f"lstm_{i}_norm"]) if config.norm_cells else x
        out = _lstm(g, heard, params[f"lstm_{i}"], i, streams, cells)
        x = g.add("Add", x, out) if width == cells else out
        width = cells
    x = g.add("MatMul", x, g.constant(params["head"]["kernel"]))
    x = g.add("Add", x, g.constant(params["head"]["bias"]))
    return g.model(x, (streams, count, len(config.labels)))


def _views(g: _Graph, config: ModelConfig, streams: int, frames: int) -> str:
    ticks = frames // config.stride
    strides = g.shape("frames", streams, ticks, config.stride, config.bands)
    average = g.add("ReduceMean", strides, axes=[2], keepdims=0)
    views = ["frames"]
    for i, constant in enumerate(config.backgrounds):
        g.inputs[f"mean_{i}"] = (streams, config.bands)
        mix, faded = background_weights(constant, config.stride, ticks)
        before = g.shape(f"mean_{i}", streams, 1, config.bands)
        before = g.add("Mul", before, g.constant(faded[:, None]))
        levels = g.add("Add", before, g.add("MatMul", g.constant(mix), average))
        levels_before = g.shape(g.cut(levels, 0, ticks), streams, ticks, 1, config.bands)
        over = g.add("Sub", strides, levels_before)
        views.append(g.shape(over, streams, frames, config.bands))
        after = g.cut(levels, ticks, ticks + 1)
        g.outputs[f"mean_{i}_after"] = g.shape(after, streams, config.bands)
    return g.add("Concat", *views, axis=2)


def _with_tail(g: _Graph, x: str, i: int, streams: int, length: int, width: int, count: int) -> str:
    g.inputs[f"tail_{i}"] = (streams, length, width)
    past = g.add("Concat", f"tail_{i}", x, axis=1)
    g.outputs[f"tail_{i}_after"] = g.cut(past, count, count + length)
    return past


def _conv(g: _Graph, x: str, kernel: np.ndarray, bias: str, stride: int, dilation: int) -> str:
    x = g.add("Transpose", x, perm=[0, 2, 1])
    w = g.constant(kernel.transpose(2, 1, 0))
    x = g.add("Conv", x, w, bias, strides=[stride], dilations=[dilation])
    return g.add("Transpose", x, perm=[0, 2, 1])


def _lstm(g: _Graph, x: str, layer: Params, i: int, streams: int, cells: int) -> str:
    g.inputs[f"hidden_{i}"] = g.inputs[f"cell_{i}"] = (streams, cells)

    def gates(w: np.ndarray) -> np.ndarray:
        enter, forget, candidate, leave = np.split(w, 4, axis=-1)
        return np.concatenate([enter, leave, forget, candidate], axis=-1).T[None]

    bias = np.concatenate([gates(layer["bias"]), np.zeros((1, 4 * cells), np.float32)], axis=1)
    states = [g.shape(f"{name}_{i}", 1, streams, cells) for name in ("hidden", "cell")]
    weights = [g.constant(gates(layer[k])) for k in ("input_kernel", "recurrent_kernel")]
    x = g.add("Transpose", x, perm=[1, 0, 2])
    y, hidden, cell = g.add(
        "LSTM", x, *weights, g.constant(bias), "", *states, outs=3, hidden_size=cells
    )
    for name, after in (("hidden", hidden), ("cell", cell)):
        g.outputs[f"{name}_{i}_after"] = g.shape(after, streams, cells)
    return g.add("Transpose", g.add("Squeeze", y, g.constant(np.array([1]))), perm=[1, 0, 2])
