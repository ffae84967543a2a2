"""The error that ends a command of train/ with one line and exit code 2."""


class TrainError(ValueError):
    """Bad input. The message is one line: what was wrong, where, and what to do."""
