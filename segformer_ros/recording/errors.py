"""The error of this room."""


class RecordingError(RuntimeError):
    """A recording that cannot be written: says which and why."""
