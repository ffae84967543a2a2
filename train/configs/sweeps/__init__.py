"""Named sets of trials: a module each, with ``TRIALS`` (name -> TrainConfig)."""
