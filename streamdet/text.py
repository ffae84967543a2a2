"""Text from files and networks, made safe for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Replace control characters and line breaks, which a terminal would obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
