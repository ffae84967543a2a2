"""Programs that the benchmarks run in processes of their own, to measure their time and memory."""
