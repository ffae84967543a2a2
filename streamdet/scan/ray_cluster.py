"""The files of a scan shared out over a Ray cluster. Wants the extra "cluster"."""

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
from streamdet.scan.processes import MAX_TRIES
from streamdet.scan.worker import EngineError, FileResult, FileWorker, ScanSettings

_PATIENCE_S, _KNOCK_S = 300.0, 10.0


def analyse_all(
    bundle: Bundle,
    wishes: ScanSettings,
    files: Iterable[MediaFile],
    jobs: int | None,
    address: str | None,
) -> Iterator[FileResult]:
    """What comes of each, as it comes: ``jobs`` actors, one for each CPU of the cluster for None.
    A file whose actor or node is lost goes to another. ``address`` is the cluster's; for None that
    of RAY_ADDRESS, or a cluster of this machine alone, made for the time. Raises EngineError."""
    waiting = deque((found, 1) for found in files)
    if not waiting:
        return
    # Ray prints what it has to say of its nodes where results go
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        ray = _connect(address)
        try:
            count = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
            yield from _ActorPool(ray, bundle, wishes).analyse(waiting, count)
        finally:
            ray.shutdown()


class _ActorPool:
    """Actors, each with an engine of its own; work goes to those that have said they are ready."""

    def __init__(self, ray: Any, bundle: Bundle, wishes: ScanSettings) -> None:
        self._ray = ray
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_ScanActor)
        self._bundle, self._wishes = ray.put(bundle), wishes
        self._idle: list[Any] = []
        self._in_flight: dict[Any, tuple[Any, tuple[MediaFile, int] | None]] = {}

    def analyse(self, waiting: deque[tuple[MediaFile, int]], count: int) -> Iterator[FileResult]:
        for _ in range(min(count, len(waiting))):
            self._start_actor()
        while waiting or any(work for _, work in self._in_flight.values()):
            while self._idle and waiting:
                actor, work = self._idle.pop(), waiting.popleft()
                self._in_flight[actor.hear.remote(work[0])] = actor, work
            done, _ = self._ray.wait(list(self._in_flight), num_returns=1, timeout=_PATIENCE_S)
            if not done:
                if any(work for _, work in self._in_flight.values()):
                    continue  # a long film
                raise EngineError(
                    f"ray: the cluster gave no CPU within {_PATIENCE_S:.0f} s; is one free?"
                )
            actor, work = self._in_flight.pop(done[0])
            heard = self._outcome(done[0], actor, work)
            if heard is None or work is None:
                continue
            if heard.transient and work[1] < MAX_TRIES:
                waiting.append((work[0], work[1] + 1))
            else:
                yield heard

    def _start_actor(self) -> None:
        actor = self._actor.remote(self._bundle, self._wishes, str(Path.cwd()))
        self._in_flight[actor.ready.remote()] = actor, None

    def _outcome(
        self, done: Any, actor: Any, work: tuple[MediaFile, int] | None
    ) -> FileResult | None:
        """What it made of its work; None where it had none yet."""
        errors = self._ray.exceptions
        try:
            heard = self._ray.get(done)
        except errors.RayActorError as error:
            if getattr(error, "actor_init_failed", False):
                said = str(error).strip().splitlines()[-1]
                raise EngineError(f"ray: no worker can begin: {said}") from error
            self._start_actor()  # wherever the cluster has a CPU
            if work is None:
                return None
            fault = f"{work[0].name}: the worker that heard it was lost"
            return FileResult(work[0], "failed", fault=fault, transient=True)
        self._idle.append(actor)
        return heard


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
        except OSError as error:
            raise EngineError(f"ray: {address}: {error.strerror or error}") from error


class _ScanActor:
    """What an actor is; relative paths are looked for in ``folder``, if the node has it."""

    def __init__(self, bundle: Bundle, wishes: ScanSettings, folder: str) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._hearer = FileWorker(bundle, wishes)

    def ready(self) -> None:
        """Answers once it is built."""

    def analyse(self, found: MediaFile) -> FileResult:
        return self._hearer.analyse(found)


def _connect(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise EngineError("--engine ray: needs Ray: pip install 'streamdet[cluster]'") from error
    known = address or os.environ.get("RAY_ADDRESS")
    if known:
        _check_reachable(known)
    made_here = {"address": "local", "include_dashboard": False}
    options: dict[str, Any] = {"address": known} if known else made_here
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(f"ray: {str(error).strip().splitlines()[0]}") from error
    return ray
