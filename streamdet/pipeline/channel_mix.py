"""One mono signal of a source, from samples to scores."""

from __future__ import annotations

from collections import deque

import numpy as np

from streamdet.audio.resample import MonoResampler
from streamdet.detection import verification
from streamdet.detection.engine import ScoreStream
from streamdet.detection.frames import NO_LOG_MEL, ScoredFrames
from streamdet.detection.window_scorer import WindowScorer

NO_SCORES = np.zeros(0, np.float32)


class ChannelMix:
    """One mono signal of a source: its frames that the other mix does not have yet, and its final
    scores likewise, if there is a verifier."""

    def __init__(
        self, resampler: MonoResampler, stream: ScoreStream, scorer: WindowScorer | None
    ) -> None:
        self.stream, self.waiting = stream, deque[ScoredFrames]()
        self.final = np.zeros(0, np.float32)
        self._resampler, self._scorer = resampler, scorer
        self._taken: list[ScoredFrames] = []
        self._state = None if scorer is None else verification.init(scorer)

    def feed(self, samples: np.ndarray) -> None:
        """Analyse samples of the source."""
        self._analyse(self._resampler.feed(samples))

    def finish(self) -> None:
        """Analyse what is buffered."""
        self._analyse(self._resampler.finish())
        self.waiting.extend(self.stream.finish())

    def take(self) -> ScoredFrames:
        """Take the oldest frames."""
        frames = self.waiting.popleft()
        if self._scorer is not None:
            self._taken.append(frames)
        return frames._replace(log_mel=NO_LOG_MEL)

    def verify(self, threshold: float, *, ending: bool) -> int:
        """Add the scores that are final now to ``final``; returns the number of windows scored.

        ``threshold`` is that of candidates.
        """
        if self._scorer is None or self._state is None:
            return 0
        new = [(frames.log_mel, frames.scores[:, 0]) for frames in self._taken]
        log_mel, scores = zip(*new, strict=True) if new else ((), (NO_SCORES,))
        self._taken = []
        self._state, verified = verification.step(
            self._scorer, threshold, self._state, log_mel, np.concatenate(scores), ending=ending
        )
        self.final = np.concatenate([self.final, verified.scores])
        return verified.windows

    def _analyse(self, samples: np.ndarray) -> None:
        self.waiting.extend(self.stream.feed(samples))
