"""Instance-weighted IoU: small objects count as much as large ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional

import numpy as np

from segformer_ros.metrics.metric import Metric, mean_of, ratios
from segformer_ros.metrics.scored_classes import ScoredClasses

COUNTABLE_GROUPS = ('human', 'vehicle')
"""Groups whose classes come as instances in Cityscapes."""

CITYSCAPES_SIZES: Mapping[str, float] = {
    'person': 3462.4756337644,
    'rider': 3930.4788056518,
    'car': 12794.0202738185,
    'truck': 27855.1264367816,
    'bus': 35732.1511111111,
    'train': 67583.7075812274,
    'motorcycle': 6298.7200839748,
    'bicycle': 4672.3249222261,
}
"""Mean pixels of an instance in Cityscapes (avgClassSize of cityscapesscripts)."""

_UNIT = 1 << 32
"""Shares of an instance are counted in units of 2^-32: whole numbers add up without rounding."""


@dataclass(frozen=True)
class InstanceScores:
    """Per scored class.

    iiou: (K,) float64, itp / (itp + fp + ifn) with each instance's pixels weighted by the class's
        mean instance size over its own; NaN for classes without instances.
    instances: (K,) int64. mean: mean of iiou over the classes that have instances.
    """

    iiou: np.ndarray
    instances: np.ndarray
    mean: float


class InstanceIou(Metric[InstanceScores]):
    """iIoU of Cityscapes.

    Counts (K, 4): instances, their pixels, the sum of the found shares of each instance (2^-32),
    and pixels that are wrongly of the class.

    sizes: mean instance size in pixels by class name; None takes those of the scored frames.
    """

    def __init__(
        self, classes: ScoredClasses, sizes: Optional[Mapping[str, float]] = None
    ) -> None:
        super().__init__((len(classes), 4))
        entries = classes.class_map.classes
        self._countable = np.array(
            [all(entries[i].group in COUNTABLE_GROUPS for i in ids) for ids in classes.members]
        )
        self._sizes = None
        if sizes is not None:
            self._sizes = np.array([sizes.get(name, np.nan) for name in classes.names])

    def update(
        self, truth: np.ndarray, predicted: np.ndarray, instances: np.ndarray, matrix: np.ndarray
    ) -> None:
        """Count one frame.

        truth, predicted: (H, W) uint8 scored ids. instances: (H, W) uint16, 0 = none; pixels of
        one number and one class are one instance. matrix: the frame's (K, K + 1) confusion.
        """
        classes = len(self.counts)
        lookup = np.zeros(256, bool)
        lookup[:classes] = self._countable
        counted = (instances > 0) & lookup[truth]
        labels = truth[counted]
        keys = instances[counted].astype(np.int64) << 8 | labels
        present, inverse = np.unique(keys, return_inverse=True)
        sizes = np.bincount(inverse, minlength=len(present))
        hits = np.bincount(inverse[labels == predicted[counted]], minlength=len(present))
        for key, size, hit in zip(present.tolist(), sizes.tolist(), hits.tolist()):
            self.counts[key & 0xFF, :3] += (1, size, (hit * _UNIT + size // 2) // size)
        square = matrix[:, :classes]
        self.counts[:, 3] += square.sum(axis=0) - np.diagonal(square)

    def compute(self) -> InstanceScores:
        """Scores of all frames."""
        count, pixels, shares, false = self.counts.T
        sizes = ratios(pixels, count)
        if self._sizes is not None:  # of merged classes nothing is published
            sizes = np.where(np.isnan(self._sizes), sizes, self._sizes)
        found = shares / _UNIT * sizes
        missed = (count - shares / _UNIT) * sizes
        scored = self._countable & (count > 0)
        iiou = np.where(scored, ratios(found, found + missed + false), np.nan)
        return InstanceScores(iiou, count.copy(), mean_of(iiou))
