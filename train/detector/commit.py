"""Which code is running."""

from __future__ import annotations

import subprocess


def current_commit() -> str:
    """The checkout's commit, marked where files differ from it."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
