"""The contract of every metric: whole counts, so that any split of the frames agrees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Tuple, TypeVar

import numpy as np

ScoresT = TypeVar('ScoresT', covariant=True)


class MetricError(ValueError):
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
