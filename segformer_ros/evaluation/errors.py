"""The error of this room."""


class EvaluationError(ValueError):
    """An evaluation that cannot be done: says why and what to do."""
