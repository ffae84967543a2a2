"""The onnxruntime engine: the frontend in numpy, the network as an ONNX graph, for files."""

from __future__ import annotations

from streamdet.detection.engine import EngineStream, ScoreStream
from streamdet.detection.frames import ScoredFrames
from streamdet.detection.numpy_engine import (
    NetworkStep,
    NumpyEngine,
)
from streamdet.detection.staged_stream import StagedStream
from streamdet.model.bundle import Bundle
from streamdet.model.bundle_files import DETECTOR_GRAPH
from streamdet.model.onnx_network import OnnxDetector


class OnnxEngine(NumpyEngine):
    """Runs a detector with onnxruntime.

    A ``pipelined`` engine opens streams that run frontend and network in parallel threads. Raises
    ValueError for a tagger, and BundleError if the bundle's graph is damaged.
    """

    onnx = True

    def __init__(
        self, bundle: Bundle, *, streams: int = 1, block_frames: int = 2, pipelined: bool = False
    ) -> None:
        super().__init__(bundle, streams=streams, block_frames=block_frames)
        self._pipelined = pipelined

    def _prepare_network(self) -> NetworkStep:
        graph, sha256 = self.bundle.graphs[DETECTOR_GRAPH], self.bundle.card["sha256"]
        return OnnxDetector(self._model, graph, sha256).run

    def stream(self) -> ScoreStream:
        """Open a stream in its initial state. Raises ValueError if the engine has several."""
        if not self._pipelined:
            return EngineStream(self)
        stages = (self.run_frontend, self.run_network)
        first = self.initial_state()
        # Each stage changes its own part of the state only.
        return StagedStream(self.grid, self.block, stages, (first, first), _only_stream)


def _only_stream(rows: list[ScoredFrames]) -> ScoredFrames:
    return rows[0]
