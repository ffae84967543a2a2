"""Run a streamdet command and end its stderr with a line `peak KIB`: `... peak_memory ARGS...`."""

import resource
import sys

from streamdet.cli.main import run

if __name__ == "__main__":
    try:
        run()
    finally:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.stderr.write(f"\npeak {peak}")
