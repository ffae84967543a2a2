"""How a command fails: one line, and an exit code that a supervisor can use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from streamdet.audio.source import Reason

BAD_INPUT, DAMAGED, UNAVAILABLE, LOST, BUSY, INTERRUPTED = 2, 3, 69, 74, 75, 130
EXIT_CODES: dict[Reason, int] = {
    "bad": BAD_INPUT,
    "truncated": DAMAGED,
    "unavailable": UNAVAILABLE,
    "lost": LOST,
    "busy": BUSY,
}
"""69, 74 and 75 are EX_UNAVAILABLE, EX_IOERR and EX_TEMPFAIL of sysexits.h."""


class CommandError(Exception):
    """Ends the command with a line on stderr and an exit code, no traceback."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """Whoever read stdout has gone (``| head``): end without a word, exit code 0."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
