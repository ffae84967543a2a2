"""Command output: runs a program for every event, without a shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess

from streamdet.config.schema import CommandConfig
from streamdet.outputs.queue import Output, OutputError, Record


class CommandOutput(Output):
    """The program reads the event as JSON from stdin; its output goes to stderr.

    A program that fails is not run again for the same event. One that exceeds the timeout is
    killed, together with the processes that it has started.
    """

    def __init__(self, config: CommandConfig) -> None:
        self._argv, self._timeout_s = list(config.argv), config.timeout_s

    def deliver(self, record: Record) -> None:
        """Run the program. Raises OutputError if it does not exit with code 0 in time."""
        body = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        program = self._argv[0]
        try:
            process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=2, start_new_session=True
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"command {program}: {reason}", final=True) from error
        try:
            process.communicate(body, self._timeout_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise OutputError(
                f"command {program}: killed after {self._timeout_s:g} s", final=True
            ) from error
        except BrokenPipeError:
            process.wait(self._timeout_s)
        if process.returncode:
            raise OutputError(f"command {program}: exit code {process.returncode}", final=True)
