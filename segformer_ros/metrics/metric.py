# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The contract of every metric (whole counts, so that any split agrees), and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Iterator, Optional, Tuple, TypeVar

import cv2
import numpy as np

from segformer_ros.errors import SegformerError

ScoresT = TypeVar('ScoresT', covariant=True)


class MetricError(SegformerError, ValueError):
    """Something that cannot be scored: says what and which value."""


class Metric(ABC, Generic[ScoresT]):
    """Counts over frames: `update` with each frame, `merge` with other counts, `compute`, `reset`.

    counts: int64 array, all that the metric knows. Sums of whole numbers have no rounding, so
        frames may be counted in any order, by any number of workers, and give the same result.
    """

    def __init__(self, shape: Tuple[int, ...]) -> None:
        self.counts = np.zeros(shape, np.int64)

    def reset(self) -> None:
        """Forget all frames."""
        self.counts[...] = 0

    def merge(self, counts: np.ndarray) -> None:
        """Add the counts of another metric of the same kind; raises MetricError."""
        if counts.shape != self.counts.shape:
            raise MetricError(
                f'{type(self).__name__}: counts of shape {counts.shape} do not fit '
                f'{self.counts.shape}; score all parts with the same classes'
            )
        self.counts += counts

    @abstractmethod
    def compute(self) -> ScoresT:
        """The scores of all frames counted so far; NaN where nothing was counted."""


def ratio(part: float, whole: float) -> float:
    """part / whole, NaN where the whole is nothing."""
    return float(part) / float(whole) if whole else float('nan')


def ratios(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """part / whole of each entry as float64, NaN where a whole is nothing."""
    result = np.full(parts.shape, np.nan)
    np.divide(parts, wholes, out=result, where=wholes != 0)
    return result


def mean_of(values: np.ndarray) -> float:
    """Mean of the values that are not NaN, summed one after another; NaN where there are none."""
    valid = [float(value) for value in values if not np.isnan(value)]
    return sum(valid) / len(valid) if valid else float('nan')


_EXACT = 1 << 24
"""OpenCV gives counts as float32, which holds whole numbers up to here."""


def histogram(values: np.ndarray, mask: Optional[np.ndarray] = None) -> np.ndarray:
    """How often each value occurs in (H, W) uint8 values where the mask (H, W) bool is set.

    (256,) int64.
    """
    counts = np.zeros(256, np.int64)
    for rows in _strips(values.shape[0], values.shape[1]):
        # Without a mask OpenCV takes half of the time.
        chosen = None if mask is None or mask[rows].all() else mask[rows].view(np.uint8)
        found = cv2.calcHist([values[rows]], [0], chosen, [256], [0, 256])
        counts += found.ravel().astype(np.int64)
    return counts


def joint_histogram(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How often each pair of values occurs in two (H, W) uint8 maps: (256, 256) int64.

    Label maps are long runs of equal values, and these are counted: several times faster than
    their pixels.
    """
    one, other = one.ravel(), other.ravel()
    change = one[1:] != one[:-1]
    change |= other[1:] != other[:-1]
    lasts = np.append(np.flatnonzero(change), one.size - 1)
    pairs = one[lasts].astype(np.intp) << 8 | other[lasts]
    # Sums of whole numbers in float64, which holds them up to 2^53.
    counts = np.bincount(pairs, np.diff(lasts, prepend=-1), 1 << 16)
    return counts.astype(np.int64).reshape(256, 256)


def _strips(height: int, width: int) -> Iterator[slice]:
    """Rows in strips of at most _EXACT pixels."""
    rows = max(1, _EXACT // max(width, 1))
    for start in range(0, height, rows):
        yield slice(start, start + rows)
