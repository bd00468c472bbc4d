"""Metrics of segmentation: whole counts that merge exactly, and the scores they give."""

from segformer_ros.camera import Camera
from segformer_ros.metrics.metric import Metric, MetricError
from segformer_ros.metrics.pixel_metrics import ConfusionMatrix, ConfusionScores, confusion_scores
from segformer_ros.metrics.scored_classes import ScoredClasses
from segformer_ros.metrics.scorer import FrameScore, Scorer, Scores

__all__ = [
    'Camera',
    'ConfusionMatrix',
    'ConfusionScores',
    'FrameScore',
    'Metric',
    'MetricError',
    'ScoredClasses',
    'Scorer',
    'Scores',
    'confusion_scores',
]
