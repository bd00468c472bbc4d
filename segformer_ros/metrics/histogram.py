"""Histograms of label maps: several times faster than np.bincount, and as exact."""

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
        chosen = None if mask is None else mask[rows].view(np.uint8)
        found = cv2.calcHist([values[rows]], [0], chosen, [256], [0, 256])
        counts += found.ravel().astype(np.int64)
    return counts


def joint_histogram(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How often each pair of values occurs in two (H, W) uint8 maps: (256, 256) int64."""
    counts = np.zeros((256, 256), np.int64)
    for rows in _strips(one.shape[0], one.shape[1]):
        parts = [one[rows], other[rows]]
        found = cv2.calcHist(parts, [0, 1], None, [256, 256], [0, 256, 0, 256])
        counts += found.astype(np.int64)
    return counts


def _strips(height: int, width: int) -> Iterator[slice]:
    """Rows in strips of at most _EXACT pixels."""
    rows = max(1, _EXACT // max(width, 1))
    for start in range(0, height, rows):
        yield slice(start, start + rows)
