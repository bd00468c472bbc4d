"""Calibration: whether a confidence of 80 % is right in 80 % of the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.metrics.base import Metric, ratio, ratios
from segformer_ros.metrics.histogram import histogram

BINS = 15
"""Bins of the reliability curve: the number that Guo et al. (2017) take for the ECE."""

_LEVELS = 256


@dataclass(frozen=True)
class CalibrationScores:
    """Reliability curve, (BINS,) each, and the expected calibration error.

    confidence, accuracy: mean of each bin, NaN in empty ones. pixels: int64.
    ece: mean difference of accuracy and confidence, weighted by pixels (Guo et al., 2017).
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    pixels: np.ndarray
    ece: float


class Calibration(Metric[CalibrationScores]):
    """Counts (256, 2): pixels, and right pixels, of each value of the confidence map."""

    def __init__(self) -> None:
        super().__init__((_LEVELS, 2))

    def update(self, truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> None:
        """Count one frame: (H, W) uint8 each, confidence 0..255 for a probability of 0..1."""
        scored = truth != IGNORE_ID
        pixels = histogram(confidence, scored)
        # Fewer are wrong than right, and the fewer pixels of a mask are set the faster it goes.
        wrong = histogram(confidence, scored & (truth != predicted))
        self.counts[:, 0] += pixels
        self.counts[:, 1] += pixels - wrong

    def compute(self) -> CalibrationScores:
        """Scores of all frames."""
        levels = np.arange(_LEVELS)
        bins = levels * BINS // _LEVELS
        pixels = np.zeros(BINS, np.int64)
        hits, sums = np.zeros_like(pixels), np.zeros_like(pixels)
        np.add.at(pixels, bins, self.counts[:, 0])
        np.add.at(hits, bins, self.counts[:, 1])
        np.add.at(sums, bins, self.counts[:, 0] * levels)
        top = _LEVELS - 1
        # |hits / n - sums / (top * n)| * n, kept in whole numbers as long as can be.
        error = int(np.abs(hits * top - sums).sum())
        return CalibrationScores(
            confidence=ratios(sums, pixels * top),
            accuracy=ratios(hits, pixels),
            pixels=pixels,
            ece=ratio(error, int(pixels.sum()) * top),
        )
