"""What a sink is, and what may stand beside an event in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from streamdet.detection.event import Event

TOP = 3


@dataclass(frozen=True)
class ScoreExplanation:
    """Why an event was one: ``scores`` are (time_s, gunshot score) around it."""

    scores: list[tuple[float, float]]

    def top_labels(self, event: Event) -> list[tuple[str, float]]:
        """The strongest other labels, best first."""
        others = [(k, v) for k, v in event.detection.labels.items() if k != "gunshot"]
        return sorted(others, key=lambda label: -label[1])[:TOP]

    def record(self, event: Event) -> dict[str, Any]:
        """The ``explain`` object of docs/events.md."""
        top = [[label, round(score, 4)] for label, score in self.top_labels(event)]
        return {"top": top, "scores": [list(pair) for pair in self.scores]}

    def text(self, event: Event) -> str:
        """One line for people: the other labels, then the scores."""
        top = ", ".join(f"{label} {score:.2f}" for label, score in self.top_labels(event))
        curve = " ".join(f"{score:.2f}" for _, score in self.scores)
        return f"{top}; scores {curve}"


class EventWriter(Protocol):
    """Where events go: each is written whole and at once, or not at all."""

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one event."""
        ...

    def close(self) -> None:
        """Finish what the format needs at its end; the stream itself stays open."""
        ...
