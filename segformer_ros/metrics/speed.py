"""Speed: percentiles of stage times, and frames per second."""

from __future__ import annotations

from typing import NamedTuple, Sequence, Union

import numpy as np


class Percentiles(NamedTuple):
    """Milliseconds: median, 99th percentile and mean; NaN of nothing."""

    p50: float
    p99: float
    mean: float


def percentiles(milliseconds: Union[Sequence[float], np.ndarray]) -> Percentiles:
    """Percentiles of (N,) times."""
    if not len(milliseconds):
        return Percentiles(float('nan'), float('nan'), float('nan'))
    p50, p99 = np.percentile(milliseconds, (50, 99))
    return Percentiles(float(p50), float(p99), float(np.mean(milliseconds)))
