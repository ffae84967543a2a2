"""Text from files, networks and libraries, as it is shown to people."""

from __future__ import annotations


def printable(text: str) -> str:
    """Replace control characters and line breaks, which a terminal would obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def plain_validation(message: str) -> str:
    """Reduce a message of pydantic, or of Typer, which uses it, to what is wrong with a value."""
    for prefix in ("Value error, ", "Input "):
        message = message.replace(prefix, "")
    return message.replace("Field required", "is required").split(", unable to parse")[0]
