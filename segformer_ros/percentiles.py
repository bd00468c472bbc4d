"""Percentiles of times: the one record of median, 99th percentile and mean."""

from __future__ import annotations

from typing import NamedTuple, Sequence, Union

import numpy as np


class Percentiles(NamedTuple):
    """Median, 99th percentile and mean, in the unit of the values; NaN of nothing."""

    p50: float
    p99: float
    mean: float


def percentiles(values: Union[Sequence[float], np.ndarray]) -> Percentiles:
    """Percentiles of (N,) values."""
    if not len(values):
        return Percentiles(float('nan'), float('nan'), float('nan'))
    p50, p99 = np.percentile(values, (50, 99))
    return Percentiles(float(p50), float(p99), float(np.mean(values)))
