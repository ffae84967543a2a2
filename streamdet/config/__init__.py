"""What a daemon is told: one frozen `Config` out of defaults, a TOML file, the environment and
flags, in that order, the later before the earlier.

`schema.py` has every key with its default, `layers.py` puts the layers together, `schedule.py`
says when a source is to be heard; `example.toml` shows all of it.
"""
