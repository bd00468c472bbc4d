"""The error of this room."""

from segformer_ros.errors import SegformerError


class RecordingError(SegformerError, RuntimeError):
    """A recording that cannot be written: says which and why."""
