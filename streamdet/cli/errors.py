"""How a command fails: one line on stderr, and an exit code that a supervisor can act on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from streamdet.audio.source import Reason

NOT_DETECTED, BAD_INPUT, DAMAGED, UNAVAILABLE, LOST, BUSY, INTERRUPTED = 1, 2, 3, 69, 74, 75, 130
EXIT_CODE_BY_REASON: dict[Reason, int] = {
    "bad": BAD_INPUT,
    "truncated": DAMAGED,
    "unavailable": UNAVAILABLE,
    "lost": LOST,
    "busy": BUSY,
}
"""69, 74 and 75 are EX_UNAVAILABLE, EX_IOERR and EX_TEMPFAIL of sysexits.h."""
EXIT_CODE_MEANINGS: dict[int, str] = {
    0: "Success, also if no gunshot was found, and after `listen` was stopped by a signal.",
    NOT_DETECTED: "`selftest`: the test sound was not detected.",
    BAD_INPUT: "Invalid option, configuration or input. `file`, `scan`, `tune` and `locate`: at "
    "least one file could not be read.",
    DAMAGED: "`file`, `scan`, `tune` and `locate`: at least one file is damaged or truncated. Its "
    "readable part was analysed.",
    UNAVAILABLE: "No such device or stream, or PortAudio is not installed.",
    LOST: "`listen`: a required source was lost and did not come back within give_up_s.",
    BUSY: "The audio device is in use by another program.",
    INTERRUPTED: "`file` and `scan`: interrupted. The events found so far were written.",
}


class CommandError(Exception):
    """Ends the command with one line on stderr and an exit code, without a traceback."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def exit_on_closed_pipe() -> Iterator[None]:
    """Exit with code 0 and no message when the reader of stdout is gone (``| head``)."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
