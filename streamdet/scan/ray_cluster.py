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
from streamdet.scan.discovery import Found
from streamdet.scan.processes import TRIES
from streamdet.scan.worker import EngineError, Heard, Hearer, Wishes

_PATIENCE_S, _KNOCK_S = 300.0, 10.0


def hear_all(
    bundle: Bundle, wishes: Wishes, files: Iterable[Found], jobs: int | None, address: str | None
) -> Iterator[Heard]:
    """What comes of each, as it comes: ``jobs`` actors, one for each CPU of the cluster for None.
    A file whose actor or node is lost goes to another. ``address`` is the cluster's; for None that
    of RAY_ADDRESS, or a cluster of this machine alone, made for the time. Raises EngineError."""
    waiting = deque((found, 1) for found in files)
    if not waiting:
        return
    # Ray prints what it has to say of its nodes where results go
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        ray = _joined(address)
        try:
            count = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
            yield from _Crew(ray, bundle, wishes).hear(waiting, count)
        finally:
            ray.shutdown()


class _Crew:
    """Actors, each with an engine of its own; work goes to those that have said they are ready."""

    def __init__(self, ray: Any, bundle: Bundle, wishes: Wishes) -> None:
        self._ray = ray
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_Member)
        self._bundle, self._wishes = ray.put(bundle), wishes
        self._idle: list[Any] = []
        self._under_way: dict[Any, tuple[Any, tuple[Found, int] | None]] = {}

    def hear(self, waiting: deque[tuple[Found, int]], count: int) -> Iterator[Heard]:
        for _ in range(min(count, len(waiting))):
            self._engage()
        while waiting or any(work for _, work in self._under_way.values()):
            while self._idle and waiting:
                actor, work = self._idle.pop(), waiting.popleft()
                self._under_way[actor.hear.remote(work[0])] = actor, work
            done, _ = self._ray.wait(list(self._under_way), num_returns=1, timeout=_PATIENCE_S)
            if not done:
                if any(work for _, work in self._under_way.values()):
                    continue  # a long film
                raise EngineError(
                    f"ray: the cluster gave no CPU within {_PATIENCE_S:.0f} s; is one free?"
                )
            actor, work = self._under_way.pop(done[0])
            heard = self._outcome(done[0], actor, work)
            if heard is None or work is None:
                continue
            if heard.passing and work[1] < TRIES:
                waiting.append((work[0], work[1] + 1))
            else:
                yield heard

    def _engage(self) -> None:
        actor = self._actor.remote(self._bundle, self._wishes, str(Path.cwd()))
        self._under_way[actor.ready.remote()] = actor, None

    def _outcome(self, done: Any, actor: Any, work: tuple[Found, int] | None) -> Heard | None:
        """What it made of its work; None where it had none yet."""
        errors = self._ray.exceptions
        try:
            heard = self._ray.get(done)
        except errors.RayActorError as error:
            if getattr(error, "actor_init_failed", False):
                said = str(error).strip().splitlines()[-1]
                raise EngineError(f"ray: no worker can begin: {said}") from error
            self._engage()  # wherever the cluster has a CPU
            if work is None:
                return None
            fault = f"{work[0].name}: the worker that heard it was lost"
            return Heard(work[0], "failed", fault=fault, passing=True)
        self._idle.append(actor)
        return heard


def _knock(address: str) -> None:
    """Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
        except OSError as error:
            raise EngineError(f"ray: {address}: {error.strerror or error}") from error


class _Member:
    """What an actor is; relative paths are looked for in ``folder``, if the node has it."""

    def __init__(self, bundle: Bundle, wishes: Wishes, folder: str) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._hearer = Hearer(bundle, wishes)

    def ready(self) -> None:
        """Answers once it is built."""

    def hear(self, found: Found) -> Heard:
        return self._hearer.hear(found)


def _joined(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise EngineError("--engine ray: needs Ray: pip install 'streamdet[cluster]'") from error
    known = address or os.environ.get("RAY_ADDRESS")
    if known:
        _knock(known)
    made_here = {"address": "local", "include_dashboard": False}
    options: dict[str, Any] = {"address": known} if known else made_here
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(f"ray: {str(error).strip().splitlines()[0]}") from error
    return ray
