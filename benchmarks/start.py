"""From the start of a process to its help, and to its first score; and the memory it takes."""

from __future__ import annotations

import tempfile

from benchmarks.measure import print_json, run, spread, streamdet

REPEATS = 7
CORES, ENVIRONMENT = None, {}

_FIRST = """
import sys
import numpy as np
from streamdet.model import bundle
from streamdet.service import engines
from streamdet.service.platform import Platform
engine = engines.live(bundle.load(), Platform(sys.argv[1]))
engine.step(engine.start(), np.zeros((1, engine.block), np.float32))
"""


def main() -> None:
    """Print what was found as JSON."""
    found: dict[str, object] = {}
    help_s = [run(["-m", "streamdet", "--help"])[0] for _ in range(REPEATS)]
    found["help_s"] = spread(help_s)
    found["python_alone_s"] = spread([run(["-c", "pass"])[0] for _ in range(REPEATS)])
    found["import_numpy_s"] = spread([run(["-c", "import numpy"])[0] for _ in range(REPEATS)])
    found["import_jax_s"] = spread([run(["-c", "import jax"])[0] for _ in range(REPEATS)])
    for platform in ("numpy", "cpu"):
        run(["-c", _FIRST, platform])
        first = [run(["-c", _FIRST, platform])[0] for _ in range(REPEATS)]
        found[f"first_score_{platform}_s"] = spread(first)
        done = [streamdet(["selftest", "--platform", platform]) for _ in range(REPEATS)]
        found[f"selftest_{platform}_s"] = spread([wall for wall, _ in done])
        found[f"selftest_{platform}_peak_mb"] = spread([peak for _, peak in done], 3)
    cold = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(run(["-c", _FIRST, "cpu"], XDG_CACHE_HOME=folder)[0])
    found["first_score_cpu_cold_s"] = spread(cold)
    print_json(found)


if __name__ == "__main__":
    main()
