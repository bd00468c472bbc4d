"""The confusion matrix and what follows from it: IoU, accuracy, frequency-weighted IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.metrics.base import Metric, mean_of, ratio, ratios
from segformer_ros.metrics.histogram import joint_histogram


@dataclass(frozen=True)
class ConfusionScores:
    """Scores of a confusion matrix; arrays are indexed by scored class.

    matrix: (K, K + 1) int64, rows true, columns predicted; the last column counts pixels to which
        the model gave no class.
    iou: (K,) float64 as cityscapesscripts defines it: tp / (tp + fp + fn), NaN where the class is
        neither in the truth nor predicted.
    pixels: (K,) int64, pixels of each class in the truth.
    miou: mean IoU of the classes that the truth has.
    miou_union: mean IoU of the classes that the truth or the prediction has, which is
        cityscapesscripts' average: a class that is only ever predicted counts as 0.
    pixel_accuracy, mean_accuracy: share of scored pixels that are right; mean over classes.
    fwiou: IoU weighted by each class's share of the truth.
    """

    matrix: np.ndarray
    iou: np.ndarray
    accuracy: np.ndarray
    precision: np.ndarray
    pixels: np.ndarray
    miou: float
    miou_union: float
    pixel_accuracy: float
    mean_accuracy: float
    fwiou: float


def confusion_counts(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix of one frame: (K, K + 1) int64.

    truth: (H, W) uint8 scored ids, 255 is left out. predicted: (H, W) uint8 scored ids; what is
    no class goes to the last column.
    """
    pairs = joint_histogram(truth, predicted)
    counts = np.empty((classes, classes + 1), np.int64)
    counts[:, :classes] = pairs[:classes, :classes]
    counts[:, classes] = pairs[:classes, classes:].sum(axis=1)
    return counts


def confusion_scores(matrix: np.ndarray) -> ConfusionScores:
    """Scores of a (K, K + 1) int64 confusion matrix."""
    classes = len(matrix)
    square = matrix[:, :classes]
    hits = np.diagonal(square)
    pixels = matrix.sum(axis=1)
    predicted = square.sum(axis=0)
    iou = ratios(hits, pixels + predicted - hits)
    accuracy = ratios(hits, pixels)
    present = pixels > 0
    total = int(pixels.sum())
    return ConfusionScores(
        matrix=matrix.copy(),
        iou=iou,
        accuracy=accuracy,
        precision=ratios(hits, predicted),
        pixels=pixels,
        miou=mean_of(iou[present]),
        miou_union=mean_of(iou),
        pixel_accuracy=ratio(int(hits.sum()), total),
        mean_accuracy=mean_of(accuracy),
        fwiou=ratio(sum(float(n) * float(i) for n, i in zip(pixels, iou) if n), total),
    )


class ConfusionMatrix(Metric[ConfusionScores]):
    """One global matrix over all pixels of all frames; counts is (K, K + 1)."""

    def __init__(self, classes: int) -> None:
        if not 1 <= classes <= IGNORE_ID:
            raise ValueError(f'{classes} classes; a uint8 label map holds 1 to {IGNORE_ID}')
        super().__init__((classes, classes + 1))

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Count one frame, (H, W) uint8 scored ids each; returns its own matrix."""
        counts = confusion_counts(truth, predicted, len(self.counts))
        self.counts += counts
        return counts

    def compute(self) -> ConfusionScores:
        """Scores of all frames."""
        return confusion_scores(self.counts)
