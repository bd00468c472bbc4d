"""Flicker: how much of the mask changes from frame to frame where the world does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.metrics.base import Metric, ratio, ratios
from segformer_ros.metrics.histogram import joint_histogram


@dataclass(frozen=True)
class FlickerScores:
    """Share of pixels whose predicted class changes between consecutive frames.

    Only pixels whose true class stays are counted. overall: over all of them; by_class: (K,)
    float64 by true class, NaN where a class never stays.
    """

    overall: float
    by_class: np.ndarray


class Flicker(Metric[FlickerScores]):
    """Counts (K, 2): pixels whose true class stays, and those whose predicted class changes."""

    def __init__(self, classes: int) -> None:
        super().__init__((classes, 2))
        self._truth: Optional[np.ndarray] = None
        self._predicted: Optional[np.ndarray] = None

    def restart(self) -> None:
        """Take the next frame as the first of its sequence."""
        self._truth = self._predicted = None

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Compare with the frame before: (H, W) uint8 scored ids; returns this pair's counts."""
        pair = np.zeros_like(self.counts)
        if self._truth is not None and self._truth.shape == truth.shape:
            stays = (truth == self._truth) & (truth != IGNORE_ID)
            changed = stays & (predicted != self._predicted)
            # 0: another truth, 1: the same and the same prediction, 2: another prediction.
            states = stays.view(np.uint8) + changed.view(np.uint8)
            found = joint_histogram(truth, states)[: len(pair)]
            pair[:, 0], pair[:, 1] = found[:, 1] + found[:, 2], found[:, 2]
        self.counts += pair
        self.remember(truth, predicted)
        return pair

    def remember(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Take a frame as the one before the next, without counting it."""
        self._truth, self._predicted = truth, predicted

    def compute(self) -> FlickerScores:
        """Scores of all pairs of frames."""
        stays, changed = self.counts.T
        return FlickerScores(
            overall=ratio(int(changed.sum()), int(stays.sum())),
            by_class=ratios(changed, stays),
        )
