"""Signal handlers for the duration of a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_DEFAULTS = (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, None)


@contextmanager
def handle_signals(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on SIGINT and SIGTERM, ``reload`` on SIGHUP; restore the handlers at the end.

    Outside the main thread nothing is installed, because Python handles signals only there.

    SIGINT and SIGTERM are raised again once the previous handlers are back, so that a program that
    embeds the daemon receives them too. This applies only to handlers that the program installed
    itself: the default action, which ends the process, has been replaced by ending the run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: reload}
    received: dict[signal.Signals, None] = {}  # in order, without repeats

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received[signal.Signals(number)] = None
        handlers[signal.Signals(number)]()

    previous = {number: signal.signal(number, on_signal) for number in handlers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    for number in received:
        if number is not signal.SIGHUP and previous[number] not in _DEFAULTS:
            signal.raise_signal(number)
