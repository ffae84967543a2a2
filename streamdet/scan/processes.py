"""The files of a scan shared out over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from streamdet.model.bundle import Bundle
from streamdet.scan.discovery import MediaFile
from streamdet.scan.worker import FileResult, FileWorker, ScanSettings

MAX_TRIES = 3
"""How often a file is heard whose process dies, or that can't be read for now."""

_settings: tuple[Bundle, ScanSettings] | None = None
_worker: FileWorker | None = None


def analyse_all(
    bundle: Bundle, wishes: ScanSettings, files: Iterable[MediaFile], jobs: int
) -> Iterator[FileResult]:
    """What comes of each, as it comes, out of so many pools of one process each: one that dies
    takes no other file with it. Raises PlatformError where the platform is not there."""

    def pool() -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, _initialise, (bundle, wishes))

    waiting = deque((found, 1) for found in files)
    idle = [pool() for _ in range(min(jobs, len(waiting)))]
    under_way: dict[Future[FileResult], tuple[ProcessPoolExecutor, MediaFile, int]] = {}
    try:
        while waiting or under_way:
            while idle and waiting:
                found, tries = waiting.popleft()
                its = idle.pop()
                under_way[its.submit(_analyse, found)] = its, found, tries
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                its, found, tries = under_way.pop(future)
                try:
                    heard = future.result()
                except BrokenProcessPool:
                    its.shutdown(wait=False)
                    its = pool()
                    fault = f"{found.name}: the process that heard it died"
                    heard = FileResult(found, "failed", fault=fault, transient=True)
                idle.append(its)
                if heard.transient and tries < MAX_TRIES:
                    waiting.append((found, tries + 1))
                else:
                    yield heard
    finally:
        for its in [*idle, *(its for its, _, _ in under_way.values())]:
            its.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()  # it may be in the middle of a long film


def _initialise(bundle: Bundle, wishes: ScanSettings) -> None:
    global _settings
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the parent's to mind
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _settings = bundle, wishes


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)


def _analyse(found: MediaFile) -> FileResult:
    global _worker
    if _worker is None:  # with the first file: what goes wrong in a pool's initializer is not told
        assert _settings is not None, "the pool's initializer comes first"  # noqa: S101
        _worker = FileWorker(*_settings)
    return _worker.analyse(found)
