"""Writes the ONNX graphs of a bundle."""

from __future__ import annotations

from pathlib import Path

from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle
from streamdet.model.bundle_files import DETECTOR_GRAPH, ENCODER_GRAPH, HEAD_GRAPH
from streamdet.model.config import ModelConfig
from train.onnx.detector_graph import build_detector_graph
from train.onnx.verifier_graphs import build_encoder_graph, build_head_graph


def write_graphs(folder: Path) -> Bundle:
    """Write the graphs of a detector into its folder, and load it.

    A tagger has none. Raises BundleError if the bundle can't be read.
    """
    bundle = bundles.load(folder)
    if not isinstance(bundle.model, ModelConfig):
        return bundle
    graphs = {
        DETECTOR_GRAPH: build_detector_graph(bundle.model, bundle.params, bundle.card["sha256"])
    }
    if bundle.verifier is not None:
        sha256 = bundle.card["verifier"]["sha256"]
        config, params = bundle.verifier.config, bundle.verifier.params
        graphs[ENCODER_GRAPH] = build_encoder_graph(config, params, sha256)
        graphs[HEAD_GRAPH] = build_head_graph(config, params, sha256)
    for name, graph in graphs.items():
        (folder / name).write_bytes(graph)
    return bundles.load(folder)
