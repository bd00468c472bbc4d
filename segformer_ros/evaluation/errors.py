"""The error of this room."""

from segformer_ros.errors import SegformerError


class EvaluationError(SegformerError, ValueError):
    """An evaluation that cannot be done: says why and what to do."""
