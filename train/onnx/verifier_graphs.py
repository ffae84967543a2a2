"""The verifier as two ONNX graphs, so that windows that overlap can share their features."""

from __future__ import annotations

import numpy as np

from streamdet.model.config import Params, VerifierConfig
from train.onnx.graph import GraphBuilder


def build_encoder_graph(config: VerifierConfig, params: Params, weights_sha256: str) -> bytes:
    """``frames`` (t, bands) to ``features`` (t / stride, dense), as
    `streamdet.model.numpy_verifier.NumpyVerifier.encode`."""
    g = GraphBuilder()
    g.inputs["frames"] = ("t", config.bands)
    axes, bands = g.constant(np.array([0, 1], np.int64)), config.bands
    x = g.add("Unsqueeze", "frames", axes)
    for i, (_, time, high, step, band_step) in enumerate(config.conv):
        kernel = np.asarray(params[f"conv_{i}"]["kernel"]).transpose(3, 2, 0, 1)
        tensors = (g.constant(kernel), g.constant(params[f"conv_{i}"]["bias"]))
        padding = [time // 2, high // 2] * 2
        x = g.add("Conv", x, *tensors, strides=[step, band_step], pads=padding)
        x = g.add("Transpose", x, perm=[0, 2, 3, 1])
        x = g.add("Relu", g.normalise(x, params[f"norm_{i}"]))
        bands = (bands - 1) // band_step + 1
        if i + 1 < len(config.conv):
            x = g.add("Transpose", x, perm=[0, 3, 1, 2])
    x = g.reshape(x, -1, bands * config.conv[-1][0])
    x = g.linear(x, params["dense"]["kernel"], params["dense"]["bias"])
    x = g.add("Relu", g.normalise(x, params["dense_norm"]))
    g.outputs["features"] = (x, ("ticks", config.dense))
    return g.serialise("verifier-encoder", weights_sha256)


def build_head_graph(config: VerifierConfig, params: Params, weights_sha256: str) -> bytes:
    """``features`` (windows, length, dense) to ``probabilities`` (windows, core): the LSTM in each
    direction, as far as the core needs, and the gunshot label of the linear layer."""
    g = GraphBuilder()
    left, right = config.reach
    length = config.window - left - right
    first, last = config.before - left, config.before - left + config.core
    g.inputs["features"] = ("windows", length, config.dense)
    x = g.add("Transpose", "features", perm=[1, 0, 2])
    forward, *_ = g.lstm(g.slice(x, 0, last, axis=0), params["forward"])
    backward, *_ = g.lstm(g.slice(x, first, None, axis=0), params["backward"], direction="reverse")
    forward = g.slice(forward, first, None, axis=0)
    backward = g.slice(backward, 0, config.core, axis=0)
    x = g.reshape(g.add("Concat", forward, backward, axis=3), config.core, -1, 2 * config.cells)
    head = params["head"]
    x = g.linear(x, np.asarray(head["kernel"])[:, :1], np.asarray(head["bias"])[:1])
    x = g.add("Transpose", g.reshape(g.add("Sigmoid", x), config.core, -1), perm=[1, 0])
    g.outputs["probabilities"] = (x, ("windows", config.core))
    return g.serialise("verifier-head", weights_sha256)
