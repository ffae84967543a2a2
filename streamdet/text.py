"""Text from outside, on its way to a person's terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text on one line, without the control characters that a terminal would obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
