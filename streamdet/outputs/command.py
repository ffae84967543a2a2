"""A program that is run for every event, never through a shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess

from streamdet.config.schema import CommandConfig
from streamdet.outputs.queue import Output, OutputError, Record


class CommandOutput(Output):
    """The event's JSON is its stdin; what it prints goes to stderr. One that fails or takes too
    long (it is killed, with what it began) is not run again for the same event."""

    def __init__(self, config: CommandConfig) -> None:
        self._argv, self._timeout_s = list(config.argv), config.timeout_s

    def deliver(self, record: Record) -> None:
        """Run it; raises OutputError for an exit code that is not 0."""
        body = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        program = self._argv[0]
        try:
            process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=2, start_new_session=True
            )
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            raise OutputError(f"command {program}: {said}", final=True) from error
        try:
            process.communicate(body, self._timeout_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise OutputError(
                f"command {program}: not done within {self._timeout_s:g} s", final=True
            ) from error
        except BrokenPipeError:
            process.wait(self._timeout_s)
        if process.returncode:
            raise OutputError(f"command {program}: exit code {process.returncode}", final=True)
