"""The interface of event writers, and the explanation that can accompany an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from streamdet.detection.event import Event

TOP_LABELS = 3


@dataclass(frozen=True)
class ScoreExplanation:
    """Why an event was detected. ``scores`` are (time_s, gunshot score) around it."""

    scores: list[tuple[float, float]]

    def top_labels(self, event: Event) -> list[tuple[str, float]]:
        """Return the labels other than gunshot with the highest scores, highest first."""
        others = [(k, v) for k, v in event.detection.labels.items() if k != "gunshot"]
        return sorted(others, key=lambda label: -label[1])[:TOP_LABELS]

    def record(self, event: Event) -> dict[str, Any]:
        """Return the ``explain`` object of docs/events.md."""
        top = [[label, round(score, 4)] for label, score in self.top_labels(event)]
        return {"top": top, "scores": [list(pair) for pair in self.scores]}

    def text(self, event: Event) -> str:
        """Return one line of text: the score of the first stage if there are two, the top labels,
        then the scores."""
        stage = event.detection.stage_score
        first = "" if stage is None else f"first stage {stage:.2f}; "
        top = ", ".join(f"{label} {score:.2f}" for label, score in self.top_labels(event))
        scores = " ".join(f"{score:.2f}" for _, score in self.scores)
        return f"{first}{top}; scores {scores}"


class EventWriter(Protocol):
    """Writes events to an open text stream in one format."""

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one event, or collect it if the format needs all events at once."""
        ...

    def close(self) -> None:
        """Write the end of the format. The stream stays open."""
        ...
