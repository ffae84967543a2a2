"""A PulseAudio server without a sound card, for tests and benchmarks."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def sound_server(
    home: Path, timeout_s: float = 20.0
) -> Iterator[tuple[dict[str, str], subprocess.Popen[bytes]]]:
    """Start a headless PulseAudio in a folder of its own; yield its environment and process.

    The monitor of its null sink ``virt`` is the default input. Programs use the server if they run
    in the environment. Raises TimeoutError if the server does not start within ``timeout_s``.
    """
    runtime = home / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    (home / ".asoundrc").write_text("pcm.!default pulse\nctl.!default pulse\n")
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
    environment.pop("PULSE_SERVER", None)
    command = [
        "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
        "-L", "module-null-sink sink_name=virt", "-L", "module-native-protocol-unix",
    ]  # fmt: skip
    deadline = time.monotonic() + timeout_s
    (runtime / "pulse" / "native").unlink(missing_ok=True)  # left by a killed server
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            while not (runtime / "pulse" / "native").exists():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"pulseaudio did not start within {timeout_s:g} s")
                time.sleep(0.05)
            yield environment, server
        finally:
            server.terminate()
