"""How the process keeps its memory: freed blocks stay with it, for the next step to use."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed() -> bool:
    """Tell glibc's malloc to hand nothing back to the system; False where there is no glibc.

    XLA on a CPU asks for the same hundreds of MiB at every step; mapped and unmapped each
    time, their page faults cost a fifth of it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    most = 2**31 - 1
    return all([mallopt(M_MMAP_THRESHOLD, most), mallopt(M_TRIM_THRESHOLD, most)])
