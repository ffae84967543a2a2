"""Detection in many files: discovery, worker processes, results in a manifest, sidecar files."""
