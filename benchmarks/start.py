"""Time from process start to the help text and to the first score, and the memory used."""

from __future__ import annotations

import tempfile

from benchmarks.measure import print_json, run_python, run_streamdet, summarise

REPEATS = 7
CORES, ENVIRONMENT = None, {}

FIRST_SCORE = ("-m", "benchmarks.children.first_score")


def main() -> None:
    """Print the results as JSON."""
    results: dict[str, object] = {}
    help_s = [run_python(["-m", "streamdet", "--help"])[0] for _ in range(REPEATS)]
    results["help_s"] = summarise(help_s)
    results["python_alone_s"] = summarise([run_python(["-c", "pass"])[0] for _ in range(REPEATS)])
    results["import_numpy_s"] = summarise(
        [run_python(["-c", "import numpy"])[0] for _ in range(REPEATS)]
    )
    results["import_jax_s"] = summarise(
        [run_python(["-c", "import jax"])[0] for _ in range(REPEATS)]
    )
    for platform in ("numpy", "cpu"):
        run_python([*FIRST_SCORE, platform])
        first = [run_python([*FIRST_SCORE, platform])[0] for _ in range(REPEATS)]
        results[f"first_score_{platform}_s"] = summarise(first)
        done = [run_streamdet(["selftest", "--platform", platform]) for _ in range(REPEATS)]
        results[f"selftest_{platform}_s"] = summarise([wall for wall, _ in done])
        results[f"selftest_{platform}_peak_mb"] = summarise([peak for _, peak in done], 3)
    cold = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(run_python([*FIRST_SCORE, "cpu"], XDG_CACHE_HOME=folder)[0])
    results["first_score_cpu_cold_s"] = summarise(cold)
    print_json(results)


if __name__ == "__main__":
    main()
