"""Ranges: how far the values of a tensor reach, but for the few that are not worth it."""

from __future__ import annotations

from typing import Dict

import numpy as np

BINS = 2048
_NOTHING = 1e-30
"""Magnitude up to which a value is 0: bins of a smaller limit cannot be counted in float32."""
LEVELS = 128
"""Magnitudes that symmetric INT8 can tell apart."""


class Histogram:
    """Histogram of the magnitudes of one tensor over any number of frames.

    When a value lies beyond the last bin, neighbouring bins are merged and the limit doubles, so
    that nothing has to be kept or read twice.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.limit = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count an array of any shape; raises ValueError where it is not finite."""
        magnitudes = np.abs(values, dtype=np.float32).ravel()
        greatest = float(magnitudes.max(initial=0.0))
        if not np.isfinite(greatest):
            raise ValueError('infinite or undefined values on a frame')
        if self.limit == 0.0 and greatest > _NOTHING:
            self.limit = greatest
        if self.limit == 0.0:
            self.counts[0] += magnitudes.size
            return
        while greatest > self.limit:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([merged, np.zeros_like(merged)])
            self.limit *= 2
        places = (magnitudes * (BINS / self.limit)).astype(np.int32)
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

    def greatest(self) -> float:
        """The limit that clips nothing."""
        used = np.flatnonzero(self.counts)
        return self.limit * (int(used[-1]) + 1) / BINS if used.size else 0.0

    def percentile(self, percent: float) -> float:
        """The limit that clips the greatest values, all but `percent` of them."""
        share = np.cumsum(self.counts) / max(int(self.counts.sum()), 1)
        return self.limit * (int(np.searchsorted(share, percent / 100.0)) + 1) / BINS

    def entropy(self) -> float:
        """The limit whose INT8 version tells most of the distribution.

        The one of least Kullback-Leibler divergence between the clipped distribution and that of
        its LEVELS levels (Migacz, "8-bit Inference with TensorRT", GTC 2017). Exact zeros, of
        which an activation function makes many, are no reason to clip anything.
        """
        counts = self.counts.copy()
        counts[0] = min(counts[0], counts[1])
        if not counts.any():
            return self.greatest()
        sizes = range(LEVELS, BINS + 1, LEVELS // 8)
        best = min(sizes, key=lambda size: _divergence(counts, size))
        return min(self.limit * best / BINS, self.greatest())


def _divergence(counts: np.ndarray, size: int) -> float:
    """Divergence of the first `size` bins, what lies beyond clipped into the last, from LEVELS."""
    clipped = counts[:size].astype(np.float64)
    occupied = clipped > 0
    reference = clipped.copy()
    reference[-1] += counts[size:].sum()
    level = np.arange(size) * LEVELS // size
    total = np.bincount(level, clipped, LEVELS)
    members = np.bincount(level, occupied, LEVELS)
    mean = np.divide(total, members, out=np.zeros(LEVELS), where=members > 0)
    quantized = np.where(occupied, mean[level], 0.0)
    p, q = reference / reference.sum(), quantized / max(quantized.sum(), 1e-12)
    seen = (p > 0) & (q > 0)
    lost = p[(p > 0) & (q == 0)].sum()  # bins that no level stands for: as if at a tiny share
    return float((p[seen] * np.log(p[seen] / q[seen])).sum() + lost * np.log(1e12))


def choose_limits(
    histograms: Dict[str, Histogram], method: str, percent: float
) -> Dict[str, float]:
    """Limit of each tensor by 'percentile', 'entropy' or 'max'."""
    rules = {
        'percentile': lambda one: one.percentile(percent),
        'entropy': Histogram.entropy,
        'max': Histogram.greatest,
    }
    return {name: rules[method](one) for name, one in histograms.items()}
