"""The verdict of a reviewer on an event."""

from __future__ import annotations

from dataclasses import dataclass

VERDICTS = ("true", "false", "unsure")
CAUSES = (
    "fireworks", "door", "vehicle", "thunder", "construction", "music", "speech", "television",
    "other",
)  # fmt: skip
MAX_NOTE, MAX_REVIEWER = 2_000, 64


@dataclass(frozen=True)
class Verdict:
    """A verdict on an event. ``verdict`` is one of VERDICTS.

    A false verdict has a ``cause`` of CAUSES, "other" by default; the other verdicts have none.
    Raises ValueError, with a message of one line, if a value is not allowed.
    """

    verdict: str
    cause: str | None = None
    note: str | None = None
    reviewer: str | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r}: must be one of {', '.join(VERDICTS)}")
        if self.cause is not None and self.cause not in CAUSES:
            raise ValueError(f"cause {self.cause!r}: must be one of {', '.join(CAUSES)}")
        if self.verdict == "false" and self.cause is None:
            object.__setattr__(self, "cause", "other")
        if self.verdict != "false" and self.cause is not None:
            raise ValueError("a cause is allowed only with the verdict false")
        for name, limit in (("note", MAX_NOTE), ("reviewer", MAX_REVIEWER)):
            text = getattr(self, name)
            if text is not None and len(text) > limit:
                raise ValueError(f"{name}: {len(text)} characters, the limit is {limit}")
