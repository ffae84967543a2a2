"""Memory of a training process: keep freed blocks for the next step."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def retain_freed_memory() -> bool:
    """Make glibc's malloc keep freed memory instead of returning it to the system; returns False
    if the C library is not glibc.

    XLA on a CPU allocates the same hundreds of MiB at every step. Mapping and unmapping them each
    time costs page faults, a fifth of a step. The setting holds for the whole process, so only
    commands that train call this.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    largest = 2**31 - 1
    return all([mallopt(M_MMAP_THRESHOLD, largest), mallopt(M_TRIM_THRESHOLD, largest)])
