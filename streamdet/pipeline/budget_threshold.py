"""The threshold of one live source: that of a budget of false alarms, or a fixed one, of which the
background says how many false alarms to expect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from streamdet.detection import adaptive_threshold, background_format
from streamdet.detection.adaptive_threshold import ThresholdConfig, ThresholdState
from streamdet.detection.background import (
    COUNTED_S,
    BackgroundConfig,
    BackgroundState,
    EventSpan,
    Prior,
    identify,
    logit,
    review,
)
from streamdet.detection.event import Detection
from streamdet.detection.false_alarm_rate import DAY_S, TailConfig, measure_depths
from streamdet.detection.frames import FrameGrid
from streamdet.detection.operating_point import choose_threshold
from streamdet.model.bundle import Bundle


class BudgetSetup(NamedTuple):
    """A budget for the scores of one bundle. ``model`` identifies those scores. ``shots`` (COUNT,):
    how the highest scores of shots are distributed (`background_format.read_shots`)."""

    config: ThresholdConfig
    prior: Prior
    model: str
    shots: np.ndarray

    def shared_by(self, count: int) -> BudgetSetup:
        """The setup of each of ``count`` streams that share the budget."""
        return self._replace(config=replace(self.config, budget=self.config.budget / count))


def set_up_budget(
    bundle: Bundle, budget: float, half_life_s: float = 86_400.0, *, verify: bool = True
) -> BudgetSetup:
    """The setup of a ``budget`` in events per second. Raises BackgroundError if the card's prior is
    invalid."""
    frame_s = bundle.frontend.hop * bundle.model.stride / bundle.frontend.sample_rate
    verifier = bundle.verifier if verify else None
    only_first = bundle.verifier is not None and not verify
    prior = background_format.read_prior(
        bundle.card, choose_threshold(bundle, verify=verify), first_stage=only_first
    )
    # Tails of places differ less from the prior than tails in general differ from each other.
    tail = TailConfig(depths=measure_depths(prior), shape_sd=0.05, scale_sd=0.5)
    if verifier is not None:
        tail = replace(tail, lowest=float(logit(verifier.candidate_threshold)))
    config = ThresholdConfig(budget, BackgroundConfig(frame_s, half_life_s), tail)
    shots = background_format.read_shots(bundle.card, first_stage=only_first)
    return BudgetSetup(config, prior, bundle.sha256 + ("/first" if only_first else ""), shots)


def set_up_fixed(
    bundle: Bundle, threshold: float, half_life_s: float = 86_400.0, *, verify: bool = True
) -> BudgetSetup:
    """The setup of a fixed ``threshold``, whose background is observed. Raises BackgroundError if
    the card's prior is invalid."""
    setup = set_up_budget(bundle, math.inf, half_life_s, verify=verify)
    return setup._replace(config=replace(setup.config, floor=threshold, ceiling=threshold))


class BudgetThreshold:
    """The threshold in force and the background that it follows from.

    It belongs to a source, and outlives its pipelines. `SourcePipeline` feeds it. Scores wait until
    there are COUNTED_S of them: to count a frame takes as long as to count all of these.
    """

    def __init__(self, setup: BudgetSetup, saved: Mapping[str, Any] | None = None) -> None:
        """``saved``: an earlier `record`. Raises BackgroundError if it does not fit."""
        self._setup = setup
        self._waiting: list[np.ndarray] = []
        self._frames, self._together = 0, COUNTED_S * setup.config.background.per_second
        if saved is None:
            self._state = adaptive_threshold.init(setup.config, setup.prior)
        else:
            known = background_format.from_json(setup.config.background, saved, setup.model)
            self._state = adaptive_threshold.resume(setup.config, known)

    @property
    def setup(self) -> BudgetSetup:
        """What it was made with."""
        return self._setup

    @property
    def state(self) -> ThresholdState:
        """All that is known."""
        return self._state

    @property
    def threshold(self) -> float:
        """The probability in force."""
        return self._state.threshold

    @property
    def background_s(self) -> float:
        """Seconds of the source's own background that count, after forgetting."""
        return self._state.background.seconds

    def add(
        self,
        grid: FrameGrid,
        scores: np.ndarray,
        detections: list[Detection],
        *,
        event_open: bool,
        base: int = 0,
    ) -> None:
        """Add the ``(t,)`` final gunshot scores of the next frames, and the detections reported
        with them, in samples since the stream began. ``base``: where in the source it began."""
        self._waiting.append(scores)
        self._frames += len(scores)
        if not detections and self._frames < self._together:
            return
        spans = [
            EventSpan(
                d.onset // grid.frame,
                -(-d.offset // grid.frame),
                float(logit(d.score)),
                base + d.onset,
            )
            for d in detections
            if d.phase == "final" and d.offset is not None and d.verified is not False
        ]
        self._count(spans, event_open=event_open)

    def finish(self) -> None:
        """End the stream; the next scores are those of another one."""
        self._count([], event_open=True)
        self._state = adaptive_threshold.finish(self._setup.config, self._state)

    def identify(self, onset: int, key: str) -> None:
        """Give the event with this onset, in samples of the source, its id."""
        self._use(identify(self._state.background, onset, key))

    def review(self, verdicts: Mapping[str, bool | None]) -> None:
        """Set the verdicts of events, by id. They take effect with the next estimate."""
        self._use(review(self._state.background, verdicts))

    def change_budget(self, setup: BudgetSetup) -> None:
        """Take over another budget or half-life for the same scores."""
        self._count([], event_open=True)
        self._setup = setup
        self._state = adaptive_threshold.resume(setup.config, self._state.background)

    def record(self) -> dict[str, Any]:
        """The background as JSON, with the threshold and the budget for information."""
        config, state = self._setup.config, self._state
        tail = state.curve.tail
        return {
            **background_format.to_json(state.background, self._setup.model),
            "threshold": round(state.threshold, 6),
            "budget_per_day": None if config.fixed else config.budget * DAY_S,
            "expected_per_day": state.expected_per_day,
            "tail": None if tail is None else tail._asdict(),
        }

    def _count(self, spans: list[EventSpan], *, event_open: bool) -> None:
        if self._waiting:
            scores, self._waiting, self._frames = np.concatenate(self._waiting), [], 0
            self._state = adaptive_threshold.step(
                self._setup.config, self._state, scores, spans, event_open=event_open
            )

    def _use(self, known: BackgroundState) -> None:
        self._state = self._state._replace(background=known)
