"""Histograms of uint8 maps: several times faster than np.bincount of pixels, and as exact."""

from __future__ import annotations

from typing import Iterator, Optional

import cv2
import numpy as np

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
