"""Share the files of a scan between processes of this machine."""

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

MAX_ATTEMPTS = 3
"""How often a file is tried whose worker process dies, or whose error is transient."""

# of a worker process, set by its initializer
_worker_arguments: tuple[Bundle, ScanSettings] | None = None
_worker: FileWorker | None = None


def analyse_all(
    bundle: Bundle, settings: ScanSettings, files: Iterable[MediaFile], jobs: int
) -> Iterator[FileResult]:
    """Yield the result of each file, in order of completion, from ``jobs`` worker processes.

    Each process has an executor of its own, so that one that dies affects only its own file.
    Raises PlatformError where the platform of ``settings`` is not available.
    """

    def start_process() -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, _initialise, (bundle, settings))

    queue = deque((file, 1) for file in files)
    idle = [start_process() for _ in range(min(jobs, len(queue)))]
    running: dict[Future[FileResult], tuple[ProcessPoolExecutor, MediaFile, int]] = {}
    try:
        while queue or running:
            while idle and queue:
                file, attempt = queue.popleft()
                process = idle.pop()
                running[process.submit(_analyse, file)] = process, file, attempt
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                process, file, attempt = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    process.shutdown(wait=False)
                    process = start_process()
                    fault = f"{file.name}: the worker process died"
                    result = FileResult(file, "failed", fault=fault, transient=True)
                idle.append(process)
                if result.transient and attempt < MAX_ATTEMPTS:
                    queue.append((file, attempt + 1))
                else:
                    yield result
    finally:
        for process in [*idle, *(process for process, _, _ in running.values())]:
            process.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()  # a long film would delay the exit


def _initialise(bundle: Bundle, settings: ScanSettings) -> None:
    global _worker_arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _worker_arguments = bundle, settings


def _exit_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)


def _analyse(file: MediaFile) -> FileResult:
    global _worker
    if _worker is None:  # not in the initializer: the parent does not see its exceptions
        assert _worker_arguments is not None, "the initializer runs first"  # noqa: S101
        _worker = FileWorker(*_worker_arguments)
    return _worker.analyse(file)
