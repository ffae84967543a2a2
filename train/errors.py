"""The one kind of error that a command of train/ ends on with a line and exit code 2."""


class TrainError(ValueError):
    """Bad input; the message is one line: what, where, what to do."""
