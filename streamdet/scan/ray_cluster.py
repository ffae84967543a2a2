"""Share the files of a scan between the nodes of a Ray cluster. Needs the extra "cluster"."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from streamdet.model.bundle import Bundle
from streamdet.scan.discovery import MediaFile
from streamdet.scan.processes import MAX_ATTEMPTS
from streamdet.scan.worker import EngineError, FileResult, FileWorker, ScanSettings

_WAIT_TIMEOUT_S, _CONNECT_TIMEOUT_S = 300.0, 10.0
_Work = tuple[MediaFile, int]
"""A file, and the number of this attempt."""


def analyse_all(
    bundle: Bundle,
    settings: ScanSettings,
    files: Iterable[MediaFile],
    jobs: int | None,
    address: str | None,
) -> Iterator[FileResult]:
    """Yield the result of each file, in order of completion, from ``jobs`` actors.

    ``jobs`` None means one actor for each CPU of the cluster. ``address`` None means RAY_ADDRESS
    or, where that is not set, a temporary cluster on this machine. A file whose actor or node is
    lost is given to another actor. Raises EngineError.
    """
    queue = deque((file, 1) for file in files)
    if not queue:
        return
    # Ray prints messages about its nodes to stdout, where the results go
    with Path(os.devnull).open("w") as devnull, contextlib.redirect_stdout(devnull):
        ray = _connect(address)
        try:
            count = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
            yield from _ActorPool(ray, bundle, settings).analyse(queue, count)
        finally:
            ray.shutdown()


class _ActorPool:
    """Actors with an engine each. An actor gets work once its engine is ready."""

    def __init__(self, ray: Any, bundle: Bundle, settings: ScanSettings) -> None:
        self._ray = ray
        self._actor_class = ray.remote(num_cpus=1, max_restarts=0)(_ScanActor)
        self._bundle, self._settings = ray.put(bundle), settings
        self._idle: list[Any] = []
        self._in_flight: dict[Any, tuple[Any, _Work | None]] = {}

    def analyse(self, queue: deque[_Work], count: int) -> Iterator[FileResult]:
        for _ in range(min(count, len(queue))):
            self._start_actor()
        while queue or any(work for _, work in self._in_flight.values()):
            while self._idle and queue:
                actor, work = self._idle.pop(), queue.popleft()
                self._in_flight[actor.analyse.remote(work[0])] = actor, work
            done, _ = self._ray.wait(list(self._in_flight), num_returns=1, timeout=_WAIT_TIMEOUT_S)
            if not done:
                if any(work for _, work in self._in_flight.values()):
                    continue  # a long film
                raise EngineError(
                    f"ray: no free CPU in the cluster within {_WAIT_TIMEOUT_S:.0f} s. "
                    "Stop other jobs or add nodes"
                )
            actor, work = self._in_flight.pop(done[0])
            result = self._collect(done[0], actor, work)
            if result is None or work is None:
                continue
            if result.transient and work[1] < MAX_ATTEMPTS:
                queue.append((work[0], work[1] + 1))
            else:
                yield result

    def _start_actor(self) -> None:
        actor = self._actor_class.remote(self._bundle, self._settings, str(Path.cwd()))
        self._in_flight[actor.ready.remote()] = actor, None

    def _collect(self, done: Any, actor: Any, work: _Work | None) -> FileResult | None:
        """The result of a call. None where the actor only reports that it is ready."""
        errors = self._ray.exceptions
        try:
            result = self._ray.get(done)
        except errors.RayActorError as error:
            if getattr(error, "actor_init_failed", False):
                reason = str(error).strip().splitlines()[-1]
                raise EngineError(f"ray: a worker cannot start: {reason}") from error
            self._start_actor()
            if work is None:
                return None
            fault = f"{work[0].name}: the worker was lost"
            return FileResult(work[0], "failed", fault=fault, transient=True)
        self._idle.append(actor)
        return result


class _ScanActor:
    """The actor: a FileWorker in a process of the cluster.

    Relative paths are resolved against ``folder`` where the node has it.
    """

    def __init__(self, bundle: Bundle, settings: ScanSettings, folder: str) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._worker = FileWorker(bundle, settings)

    def ready(self) -> None:
        """Return once the worker is built."""

    def analyse(self, file: MediaFile) -> FileResult:
        return self._worker.analyse(file)


def _connect(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise EngineError("--engine ray: needs Ray: pip install 'streamdet[cluster]'") from error
    cluster = address or os.environ.get("RAY_ADDRESS")
    if cluster:
        _check_reachable(cluster)
    temporary = {"address": "local", "include_dashboard": False}
    options: dict[str, Any] = {"address": cluster} if cluster else temporary
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(f"ray: {str(error).strip().splitlines()[0]}") from error
    return ray


def _check_reachable(address: str) -> None:
    """Fail within seconds, since Ray itself retries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise EngineError(f"ray: {address}: {error.strerror or error}") from error
