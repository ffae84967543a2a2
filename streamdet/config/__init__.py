"""The configuration: one frozen `Config`, from defaults, a TOML file, the environment and flags.

A later layer in that order overrides an earlier one. `schema.py` has every key with its default,
`checks.py` checks single values, `layers.py` merges the layers, `schedule.py` says when a source is
active, and `example.toml` shows every key.
"""
