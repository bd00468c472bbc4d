"""Evaluation: scores a model on recordings, the same to the bit however the work is split."""

from segformer_ros.evaluation.errors import EvaluationError
from segformer_ros.evaluation.job import EvaluationJob, ModelChoice
from segformer_ros.evaluation.runner import Evaluation, Execution, Run

__all__ = [
    'Evaluation',
    'EvaluationError',
    'EvaluationJob',
    'Execution',
    'ModelChoice',
    'Run',
]
