"""The files of a scan shared out over processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from pebble import ProcessExpired, ProcessPool

from streamdet.archive.finding import Found
from streamdet.archive.hearing import Heard, Hearer, Wishes
from streamdet.model.bundle import Bundle

TRIES = 3
"""How often a file is heard whose process dies, or that can't be read for now."""

_hearer: Hearer | None = None


def hear_all(bundle: Bundle, wishes: Wishes, files: Iterable[Found], jobs: int) -> Iterator[Heard]:
    """What comes of each, as it comes. A process that dies takes no other file with it."""
    waiting = deque((found, 1) for found in files)
    if not waiting:
        return
    under_way: dict[Future[Any], tuple[Found, int]] = {}
    pool = ProcessPool(
        max_workers=min(jobs, len(waiting)),
        initializer=_begin,
        initargs=(bundle, wishes),
        context=multiprocessing.get_context("spawn"),
    )
    try:
        while waiting or under_way:
            while waiting and len(under_way) < 2 * jobs:
                found, tries = waiting.popleft()
                under_way[pool.schedule(_hear, args=[found])] = found, tries
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                found, tries = under_way.pop(future)
                heard = _outcome(future, found)
                if heard.passing and tries < TRIES:
                    waiting.append((found, tries + 1))
                else:
                    yield heard
        pool.close()
    finally:
        pool.stop()
        pool.join()


def _outcome(future: Future[Any], found: Found) -> Heard:
    try:
        return future.result()
    except ProcessExpired as error:
        died = f"{found.name}: the process that heard it died (exit code {error.exitcode})"
        return Heard(found, "failed", fault=died, passing=True)


def _begin(bundle: Bundle, wishes: Wishes) -> None:
    global _hearer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the parent's to mind
    _hearer = Hearer(bundle, wishes)


def _hear(found: Found) -> Heard:
    assert _hearer is not None, "the pool's initializer comes first"  # noqa: S101
    return _hearer.hear(found)
