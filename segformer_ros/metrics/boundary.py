"""Boundary F-score: how well the contours of the classes are met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Tuple

import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.metrics.base import Metric, mean_of, ratios

TOLERANCE = 0.005
"""Distance within which a contour counts as met, as a share of the image's diagonal.

The share that Boundary IoU (Cheng et al., 2021) takes on Cityscapes; 11 pixels at 2048x1024.
"""

_NO_CLASS = 254  # neither a contour's class (those are below) nor IGNORE_ID


@dataclass(frozen=True)
class BoundaryScores:
    """Per scored class, (K,) float64, NaN where neither truth nor prediction has a contour.

    f: harmonic mean of precision (share of the predicted contour that lies within the tolerance
        of the true one of the same class) and recall (the same from the true one).
    mean: mean of f over the classes that have a contour in the truth.
    """

    precision: np.ndarray
    recall: np.ndarray
    f: np.ndarray
    mean: float


class BoundaryFScore(Metric[BoundaryScores]):
    """Contour pixels of each class over all frames.

    Counts (K, 4): predicted contour pixels, those of them that are met, true contour pixels,
    those of them that are met. (Csurka et al., 2013, take the F-score of each image and average
    those; here the pixels of all frames are counted first, as for the IoU.)
    """

    def __init__(self, classes: int, tolerance: float = TOLERANCE) -> None:
        super().__init__((classes, 4))
        self._tolerance = tolerance

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count one frame: (H, W) uint8 scored ids; where the truth is 255 nothing counts."""
        radius = max(1, round(self._tolerance * float(np.hypot(*truth.shape))))
        predicted = np.where(truth == IGNORE_ID, np.uint8(IGNORE_ID), predicted)
        classes = len(self.counts)
        contours = [_contour(labels, radius) for labels in (predicted, truth)]
        near = [_near(contour, radius, classes) for contour in contours]
        for column, (one, other) in enumerate(((0, 1), (1, 0))):
            found, met = _meet(contours[one], contours[other], near[other], radius)
            self.counts[:, 2 * column] += found
            self.counts[:, 2 * column + 1] += met

    def compute(self) -> BoundaryScores:
        """Scores of all frames."""
        predicted, predicted_met, true, true_met = self.counts.T
        precision, recall = ratios(predicted_met, predicted), ratios(true_met, true)
        both = np.nan_to_num(precision) + np.nan_to_num(recall)
        product = np.nan_to_num(precision) * np.nan_to_num(recall)
        f = ratios(2 * product, both)
        f[(both == 0) & (predicted + true > 0)] = 0.0
        return BoundaryScores(precision, recall, f, mean_of(f[true > 0]))


class _Contour(NamedTuple):
    """Contour of a label map with a margin around it.

    labels: (H', W') uint8, _NO_CLASS off the contour. places: (N,) flat indices of the contour.
    """

    labels: np.ndarray
    places: np.ndarray


def _contour(labels: np.ndarray, margin: int) -> _Contour:
    """Pixels of (H, W) uint8 labels of which one of the four neighbours has another class.

    Neither the image's border nor the border to ignored pixels is a contour.
    """
    edge = np.zeros(labels.shape, bool)
    for one, other in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:], np.s_[:-1]),
    ):
        step = labels[one] != labels[other]
        step &= (labels[one] != IGNORE_ID) & (labels[other] != IGNORE_ID)
        edge[one] |= step
        edge[other] |= step
    contour = np.full([side + 2 * margin for side in labels.shape], _NO_CLASS, np.uint8)
    np.copyto(contour[margin:-margin, margin:-margin], labels, where=edge)
    return _Contour(contour, np.flatnonzero(contour != _NO_CLASS))


def _near(contour: _Contour, radius: int, classes: int) -> np.ndarray:
    """Which classes have contour in each cell of `radius` pixels or in one beside it.

    (rows, columns, K) bool; what a cell does not have is further than the radius from all of it.
    """
    shape = contour.labels.shape
    rows, columns = np.divmod(contour.places, shape[1])
    # A rim of one cell makes room for the neighbours.
    cells = np.zeros((-(-shape[0] // radius) + 2, -(-shape[1] // radius) + 2, classes), bool)
    cells[rows // radius + 1, columns // radius + 1, contour.labels.ravel()[contour.places]] = True
    across = cells[:, :-2] | cells[:, 1:-1] | cells[:, 2:]
    beside: np.ndarray = across[:-2] | across[1:-1] | across[2:]
    return beside


def _meet(
    contour: _Contour, other: _Contour, near: np.ndarray, radius: int
) -> Tuple[np.ndarray, np.ndarray]:
    """Contour pixels of each class, and those with one of the same class in the other: (K,) each.

    near: of the other, see `_near`. Few pixels are contour, those that have nothing of their
    class anywhere near are sorted out first, and most others are met within a pixel or two: the
    disc is searched from its middle outwards with what is left. Several times faster than a
    distance transform for each class.
    """
    classes, width = near.shape[2], contour.labels.shape[1]
    places, target = contour.places, other.labels.ravel()
    labels = contour.labels.ravel()[places]
    found = np.bincount(labels, minlength=classes)
    rows, columns = np.divmod(places, width)
    kept = near[rows // radius, columns // radius, labels]
    missed = np.bincount(labels[~kept], minlength=classes)
    places, labels = places[kept], labels[kept]
    for offset in _disc(radius, width):
        unmet = target[places + offset] != labels
        places, labels = places[unmet], labels[unmet]
    return found, found - missed - np.bincount(labels, minlength=classes)


def _disc(radius: int, row: int) -> np.ndarray:
    """Offsets into a flat image of `row` pixels a row, of all pixels in a disc, nearest first."""
    dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1)
    distance = dy * dy + dx * dx
    order = np.argsort(distance, kind='stable')
    order = order[distance[order] <= radius * radius]
    offsets: np.ndarray = (dy * row + dx)[order].astype(np.intp)
    return offsets
