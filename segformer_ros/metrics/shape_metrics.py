# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Metrics of shapes: how well contours match (boundary F-score), and instances (iIoU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Mapping, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.metrics.metric import Metric, ScoredClasses, mean_of, ratios

TOLERANCE = 0.005
"""Distance within which contours match, as a share of the image's diagonal.

The share that Boundary IoU (Cheng et al., 2021) uses on Cityscapes; 11 pixels at 2048x1024.
"""

_NO_CLASS = 254  # marks pixels off the contour: no class, nor IGNORE_ID


@dataclass(frozen=True)
class BoundaryScores:
    """Per scored class, (K,) float64, NaN where neither truth nor prediction has a contour.

    f: harmonic mean of precision (share of the predicted contour that lies within the tolerance
        of the true one of the same class) and recall (the same from the true one); 0 for a contour
        that only one of the two has. NaN for all where the truth has no contour of any class.
    mean: mean of f over the classes that have a contour in the truth.
    """

    precision: np.ndarray
    recall: np.ndarray
    f: np.ndarray
    mean: float


class BoundaryFScore(Metric[BoundaryScores]):
    """Contour pixels of each class over all frames.

    Counts (K, 4): predicted contour pixels, how many of them match, true contour pixels, how many
    of them match. (Csurka et al., 2013, average the F-scores of the images; here the pixels of all
    frames are counted first, as for the IoU.)
    """

    def __init__(self, classes: int, tolerance: float = TOLERANCE) -> None:
        super().__init__((classes, 4))
        self._tolerance = tolerance

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count one frame: (H, W) uint8 scored ids; pixels whose truth is 255 are left out."""
        radius = max(1, round(self._tolerance * float(np.hypot(*truth.shape))))
        # -1 as uint8 is 255, and `or` makes any class IGNORE_ID; np.where is far slower.
        predicted = predicted | -(truth == IGNORE_ID).view(np.uint8)
        classes = len(self.counts)
        contours = [_contour(labels, radius) for labels in (predicted, truth)]
        near = [_near(contour, radius, classes) for contour in contours]
        for column, (one, other) in enumerate(((0, 1), (1, 0))):
            pixels, matched = _match(contours[one], contours[other], near[other], radius)
            self.counts[:, 2 * column] += pixels
            self.counts[:, 2 * column + 1] += matched

    def compute(self) -> BoundaryScores:
        """Scores of all frames."""
        predicted, predicted_matched, true, true_matched = self.counts.T
        precision, recall = ratios(predicted_matched, predicted), ratios(true_matched, true)
        both = np.nan_to_num(precision) + np.nan_to_num(recall)
        product = np.nan_to_num(precision) * np.nan_to_num(recall)
        f = ratios(2 * product, both)
        f[(both == 0) & (predicted + true > 0) & true.any()] = 0.0
        return BoundaryScores(precision, recall, f, mean_of(f[true > 0]))


class _Contour(NamedTuple):
    """Contour of a label map, N pixels, in an image with a margin around the label map.

    image: (H', W') uint8, the contour's classes, _NO_CLASS off it. flat, labels: (N,) flat indices
    into the image, and classes. cells: (N,) each, rows and columns of cells as wide as the margin.
    """

    image: np.ndarray
    flat: np.ndarray
    labels: np.ndarray
    cells: Tuple[np.ndarray, np.ndarray]


def _contour(labels: np.ndarray, margin: int) -> _Contour:
    """Pixels of (H, W) uint8 labels with one of the four neighbours of another class.

    Neither the image's border nor the border to ignored pixels is a contour.
    """
    # A neighbour has a higher class id (dilation) or a lower one (erosion). An ignored neighbour
    # must be neither: 255 is never lower, and plus one wraps to 0, which is never higher.
    shifted = labels + np.uint8(1)
    edge = cv2.dilate(shifted, _NEIGHBOURS) != shifted  # (H, W) bool
    edge |= cv2.erode(labels, _NEIGHBOURS) != labels
    edge &= labels != IGNORE_ID
    index = np.flatnonzero(edge)  # (N,)
    classes = labels.ravel()[index]
    rows, columns = (indices + margin for indices in np.divmod(index, labels.shape[1]))
    image = np.full([side + 2 * margin for side in labels.shape], _NO_CLASS, np.uint8)
    image[rows, columns] = classes
    cells = (rows // margin, columns // margin)
    return _Contour(image, rows * image.shape[1] + columns, classes, cells)


def _near(contour: _Contour, radius: int, classes: int) -> np.ndarray:
    """Which classes have contour pixels in each cell of `radius` pixels or its 8 neighbours.

    (rows, columns, K) bool; other classes are further than the radius from anywhere in the cell.
    """
    rows, columns = contour.cells
    # A border of one cell makes room for the neighbours.
    shape = [-(-side // radius) + 2 for side in contour.image.shape]
    cells = np.zeros((*shape, classes), bool)
    cells[rows + 1, columns + 1, contour.labels] = True
    across = cells[:, :-2] | cells[:, 1:-1] | cells[:, 2:]
    around: np.ndarray = across[:-2] | across[1:-1] | across[2:]
    return around


def _match(
    contour: _Contour, other: _Contour, near: np.ndarray, radius: int
) -> Tuple[np.ndarray, np.ndarray]:
    """Contour pixels of each class, and those within `radius` of the other's: (K,) each.

    near: of the other, see `_near`. Pixels that have none of their class nearby are dropped first.
    Most others match within a pixel or two, so the disc is searched from its middle outwards with
    the pixels that are left. Several times faster than a distance transform for each class.
    """
    classes, width = near.shape[2], contour.image.shape[1]
    pixels = np.bincount(contour.labels, minlength=classes)
    kept = near[(*contour.cells, contour.labels)]
    index, labels = contour.flat[kept], contour.labels[kept]
    matched = np.bincount(labels, minlength=classes)  # minus those left unmatched at the end
    # From here on of the disc's upper left corner, so that offsets are positive: a view that
    # begins at the offset is cheaper than to add it to all indices.
    index -= radius * (width + 1)
    target = other.image.ravel()
    for ring in _rings(radius, width):
        unmatched = np.ones(len(index), bool)
        for shift in ring.tolist():
            unmatched &= target[shift:][index] != labels
        index, labels = index[unmatched], labels[unmatched]
    return pixels, matched - np.bincount(labels, minlength=classes)


def _rings(radius: int, row: int) -> List[np.ndarray]:
    """Offsets from a disc's upper left corner to all its pixels, nearest to the middle first.

    row: pixels in an image's row. In groups of 1, 1, 2, 4, 8, ... pixels: the outer ones match so
    rarely that it does not pay to drop matched pixels after each of them.
    """
    dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1)
    distance = dy * dy + dx * dx
    order = np.argsort(distance, kind='stable')
    order = order[distance[order] <= radius * radius]
    offsets = ((dy + radius) * row + dx + radius)[order]
    return np.split(offsets, 2 ** np.arange(len(offsets).bit_length()))


_NEIGHBOURS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


COUNTABLE_GROUPS = ('human', 'vehicle')
"""Groups whose classes have instances in Cityscapes."""

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
"""Shares of an instance are counted in units of 2^-32, since integers add up exactly."""


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

    Counts (K, 4): instances, their pixels, the sum over instances of the share that was found (in
    2^-32), and false positive pixels.

    sizes: mean instance size in pixels by class name; None: from the scored frames.
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

        truth, predicted: (H, W) uint8 scored ids. instances: (H, W) uint16, 0 = none; pixels with
        the same number and class are one instance. matrix: the frame's (K, K + 1) confusion.
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
        if self._sizes is not None:  # NaN for merged classes, whose sizes are not published
            sizes = np.where(np.isnan(self._sizes), sizes, self._sizes)
        found = shares / _UNIT * sizes
        missed = (count - shares / _UNIT) * sizes
        scored = self._countable & (count > 0)
        iiou = np.where(scored, ratios(found, found + missed + false), np.nan)
        return InstanceScores(iiou, count.copy(), mean_of(iiou))
