# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Metrics of pixels: the confusion matrix with its IoUs, reliability of confidence, flicker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.metrics.metric import Metric, histogram, joint_histogram, mean_of, ratio, ratios


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

    truth: (H, W) uint8 scored ids, 255 is not counted. predicted: (H, W) uint8 scored ids; values
    that are not a class are counted in the last column.
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


BINS = 15
"""Bins of the reliability curve: as many as Guo et al. (2017) use for the ECE."""

_LEVELS = 256


@dataclass(frozen=True)
class ReliabilityScores:
    """Reliability curve, (BINS,) each, and the expected calibration error.

    confidence, accuracy: mean of each bin, NaN in empty ones. pixels: int64.
    ece: mean difference of accuracy and confidence, weighted by pixels (Guo et al., 2017).
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    pixels: np.ndarray
    ece: float


class Reliability(Metric[ReliabilityScores]):
    """Counts (256, 2): pixels, and right pixels, of each value of the confidence map."""

    def __init__(self) -> None:
        super().__init__((_LEVELS, 2))

    def update(self, truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> None:
        """Count one frame: (H, W) uint8 each, confidence 0..255 for a probability of 0..1."""
        scored = truth != IGNORE_ID
        pixels = histogram(confidence, scored)
        # Wrong ones, not right ones: the fewer pixels of a mask are set, the faster it is.
        wrong = histogram(confidence, scored & (truth != predicted))
        self.counts[:, 0] += pixels
        self.counts[:, 1] += pixels - wrong

    def compute(self) -> ReliabilityScores:
        """Scores of all frames."""
        levels = np.arange(_LEVELS)
        bins = levels * BINS // _LEVELS
        pixels = np.zeros(BINS, np.int64)
        hits, sums = np.zeros_like(pixels), np.zeros_like(pixels)
        np.add.at(pixels, bins, self.counts[:, 0])
        np.add.at(hits, bins, self.counts[:, 1])
        np.add.at(sums, bins, self.counts[:, 0] * levels)
        top = _LEVELS - 1
        # |hits / n - sums / (top * n)| * n, times `top` to stay in integers until the division.
        error = int(np.abs(hits * top - sums).sum())
        return ReliabilityScores(
            confidence=ratios(sums, pixels * top),
            accuracy=ratios(hits, pixels),
            pixels=pixels,
            ece=ratio(error, int(pixels.sum()) * top),
        )


@dataclass(frozen=True)
class FlickerScores:
    """Share of pixels whose predicted class changes between consecutive frames.

    Only pixels whose true class stays the same are counted. overall: over all of them; by_class:
    (K,) float64 by true class, NaN for a class without such pixels.
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
        """Treat the next frame as the first of its sequence."""
        self._truth = self._predicted = None

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Compare with the frame before: (H, W) uint8 scored ids; returns this pair's counts."""
        pair = np.zeros_like(self.counts)
        if self._truth is not None and self._truth.shape == truth.shape:
            stays = (truth == self._truth) & (truth != IGNORE_ID)
            changed = stays & (predicted != self._predicted)
            # 0: other truth; 1: same truth, same prediction; 2: same truth, other prediction.
            states = stays.view(np.uint8) + changed.view(np.uint8)
            found = joint_histogram(truth, states)[: len(pair)]
            pair[:, 0], pair[:, 1] = found[:, 1] + found[:, 2], found[:, 2]
        self.counts += pair
        self.remember(truth, predicted)
        return pair

    def remember(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Make this frame the previous one, without counting it."""
        self._truth, self._predicted = truth, predicted

    def compute(self) -> FlickerScores:
        """Scores of all pairs of frames."""
        stays, changed = self.counts.T
        return FlickerScores(
            overall=ratio(int(changed.sum()), int(stays.sum())),
            by_class=ratios(changed, stays),
        )
