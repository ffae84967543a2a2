"""What systemd is told, over the socket that it names (sd_notify(3)); nothing where it names
none."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class SystemdNotifier:
    """READY=1 once, then WATCHDOG=1 at a third of the time that systemd would wait for it."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self.watchdog_s: float | None = None
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "")
        if ours and microseconds.isdigit():
            self.watchdog_s = int(microseconds) / 1e6 / 3.0
        self._pinged = -float("inf")
        self._status = ""

    def notify(self, *lines: str) -> None:
        """Send lines such as ``READY=1``; whoever does not listen is not waited for."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to:
                to.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # systemd is away or its queue is full: there will be another

    def set_status(self, words: str) -> None:
        """STATUS= in words, when they have changed."""
        if words != self._status:
            self._status = words
            self.notify(f"STATUS={words}")

    def notify_reloading(self) -> None:
        """The configuration is read anew; READY=1 is due behind that."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        self.notify("RELOADING=1", f"MONOTONIC_USEC={now}")

    def ping_watchdog(self, now: float) -> None:
        """WATCHDOG=1, where one is due."""
        if self.watchdog_s is not None and now - self._pinged >= self.watchdog_s:
            self._pinged = now
            self.notify("WATCHDOG=1")
