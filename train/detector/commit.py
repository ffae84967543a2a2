"""The commit of the running code."""

from __future__ import annotations

import subprocess


def read_commit() -> str:
    """The commit of the checkout, with ``-dirty`` if files differ from it; ``unknown`` if the
    current directory is not in a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
