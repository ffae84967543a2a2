"""Builds an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from streamdet.model.bundle_files import GRAPH_WEIGHTS_KEY

OPSET, IR_VERSION = 17, 10
"""Supported by onnxruntime 1.20 and later."""

_END = 2**31 - 1
Shape = tuple[int | str, ...]
"""The size of each axis; a name stands for any size."""


class GraphBuilder:
    """The nodes, weights, inputs and outputs of a graph under construction. Values have names."""

    def __init__(self) -> None:
        self.inputs: dict[str, Shape] = {}
        self.outputs: dict[str, tuple[str, Shape]] = {}
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def add(self, kind: str, *inputs: str, outs: int = 1, **attributes: Any) -> Any:
        """Add a node; returns the name of its output, or the names of ``outs`` outputs."""
        names = [f"v{len(self._nodes)}_{i}" for i in range(outs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outs == 1 else names

    def constant(self, array: Any) -> str:
        """Add a weight."""
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape a value; 0 keeps the size of an axis, -1 infers it."""
        return self.add("Reshape", x, self.constant(np.array(shape, np.int64)))

    def slice(self, x: str, first: int, last: int | None, axis: int) -> str:
        """``x[first:last]`` along an axis, as in Python."""
        ends = (first, _END if last is None else last, axis)
        return self.add("Slice", x, *[self.constant(np.array([n], np.int64)) for n in ends])

    def linear(self, x: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        """``x @ kernel + bias``."""
        return self.add("Add", self.add("MatMul", x, self.constant(kernel)), self.constant(bias))

    def normalise(self, x: str, layer: Mapping[str, np.ndarray]) -> str:
        """Layer normalisation over the last axis."""
        scale, bias = (self.constant(layer[k]) for k in ("scale", "bias"))
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-6)

    def lstm(
        self, x: str, layer: Mapping[str, np.ndarray], states: tuple[str, ...] = (), **kind: Any
    ) -> list[str]:
        """Run an LSTM over ``(t, n, width)``; returns (t, 1, n, cells) and the two states after
        it, (1, n, cells) each. It begins from ``states``, or from zeros."""
        cells = layer["recurrent_kernel"].shape[0]
        bias = np.concatenate([_order_gates(layer["bias"]), np.zeros((1, 4 * cells))], axis=1)
        weights = [_order_gates(layer[k]) for k in ("input_kernel", "recurrent_kernel")]
        tensors = [self.constant(a.astype(np.float32)) for a in (*weights, bias)]
        begin = ("", *states) if states else ()
        return self.add("LSTM", x, *tensors, *begin, outs=3, hidden_size=cells, **kind)

    def serialise(self, name: str, weights_sha256: str) -> bytes:
        """The model's file. ``weights_sha256``: the checksum of the weights it was made from."""
        for output, (value, _) in self.outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [output]))
        inputs = _describe(self.inputs)
        outputs = _describe({output: shape for output, (_, shape) in self.outputs.items()})
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        helper.set_model_props(model, {GRAPH_WEIGHTS_KEY: weights_sha256})
        onnx.checker.check_model(model)
        return model.SerializeToString()


def _describe(shapes: Mapping[str, Shape]) -> list[Any]:
    kind = TensorProto.FLOAT
    return [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()]


def _order_gates(weights: np.ndarray) -> np.ndarray:
    """Gates in the order (input, output, forget, candidate), with an axis for the direction."""
    enter, forget, candidate, leave = np.split(np.asarray(weights), 4, axis=-1)
    return np.concatenate([enter, leave, forget, candidate], axis=-1).T[None]
