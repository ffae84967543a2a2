"""What a person can say of an event."""

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
    """One of VERDICTS; a false one has a cause of CAUSES ("other" if none is given), no other has.

    Raises ValueError, in one line, for what is none.
    """

    verdict: str
    cause: str | None = None
    note: str | None = None
    reviewer: str | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r}: not one of {', '.join(VERDICTS)}")
        if self.cause is not None and self.cause not in CAUSES:
            raise ValueError(f"cause {self.cause!r}: not one of {', '.join(CAUSES)}")
        if self.verdict == "false" and self.cause is None:
            object.__setattr__(self, "cause", "other")
        if self.verdict != "false" and self.cause is not None:
            raise ValueError("a cause goes with the verdict false alone")
        for name, most in (("note", MAX_NOTE), ("reviewer", MAX_REVIEWER)):
            text = getattr(self, name)
            if text is not None and len(text) > most:
                raise ValueError(f"{name}: longer than {most} characters")
