"""Metrics of segmentation: whole counts that merge exactly, and the scores they give."""

from segformer_ros.metrics.base import Metric, MetricError
from segformer_ros.metrics.confusion import ConfusionMatrix, ConfusionScores, confusion_scores
from segformer_ros.metrics.drivable import Camera
from segformer_ros.metrics.scorer import FrameScore, Scorer, Scores
from segformer_ros.metrics.scoring import ScoredClasses
from segformer_ros.metrics.speed import Percentiles, percentiles

__all__ = [
    'Camera',
    'ConfusionMatrix',
    'ConfusionScores',
    'FrameScore',
    'Metric',
    'MetricError',
    'Percentiles',
    'ScoredClasses',
    'Scorer',
    'Scores',
    'confusion_scores',
    'percentiles',
]
