"""Notifications to systemd over $NOTIFY_SOCKET (sd_notify(3)); without one, nothing is sent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class SystemdNotifier:
    """Sends readiness, status and watchdog notifications.

    ``watchdog_s`` is the interval of the pings: a third of systemd's timeout, None without one.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self.watchdog_s: float | None = None
        addressed = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "")
        if addressed and microseconds.isdigit():
            self.watchdog_s = int(microseconds) / 1e6 / 3.0
        self._pinged = -float("inf")
        self._status = ""

    def notify(self, *lines: str) -> None:
        """Send lines such as ``READY=1``, without waiting for the receiver."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # systemd is restarting or its queue is full; the next notification gets through

    def set_status(self, text: str) -> None:
        """Send STATUS= if the text has changed."""
        if text != self._status:
            self._status = text
            self.notify(f"STATUS={text}")

    def notify_reloading(self) -> None:
        """Announce a reload; systemd expects READY=1 when it is done."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        self.notify("RELOADING=1", f"MONOTONIC_USEC={now}")

    def ping_watchdog(self, now: float) -> None:
        """Send WATCHDOG=1 if it is due."""
        if self.watchdog_s is not None and now - self._pinged >= self.watchdog_s:
            self._pinged = now
            self.notify("WATCHDOG=1")
