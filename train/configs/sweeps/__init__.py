"""Sweeps: one file for each, with ``TRIALS`` (name -> DetectorConfig)."""
