"""Evaluation: scores a model on recordings, the same to the bit however the work is split."""

from segformer_ros.evaluation.job import EvaluationJob, ModelChoice
from segformer_ros.evaluation.runner import Evaluation, EvaluationRun, Execution
from segformer_ros.evaluation.shards import EvaluationError

__all__ = [
    'Evaluation',
    'EvaluationError',
    'EvaluationJob',
    'EvaluationRun',
    'Execution',
    'ModelChoice',
]
