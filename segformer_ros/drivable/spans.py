"""Spans: neighbouring columns that are summed up in their nearest one."""

from __future__ import annotations

from functools import lru_cache
from typing import Tuple

import numpy as np

_FAR = 1e6  # stands for inf where distances are compared, which 1e-8 still tells apart


def nearest_in_spans(distances: np.ndarray, spans: int) -> np.ndarray:
    """Index of the smallest of W values in each of `spans` equal spans: (N,) int, N <= W.

    Among values that are equal to within 1e-5 the one closest to its span's middle.
    """
    members, off_middle = _members(len(distances), min(spans, len(distances)))
    ranked = np.minimum(distances, _FAR)[members] + off_middle
    result: np.ndarray = members[np.arange(len(members)), ranked.argmin(axis=1)]
    return result


@lru_cache(maxsize=16)
def _members(width: int, spans: int) -> Tuple[np.ndarray, np.ndarray]:
    """Members (N, S) of each span, the last repeated, and a small penalty for being off middle."""
    edges = np.round(np.linspace(0, width, spans + 1)).astype(np.intp)
    first, last = edges[:-1, None], edges[1:, None] - 1
    members = np.minimum(first + np.arange(np.diff(edges).max()), last)
    return members, np.abs(2 * members - first - last) * (1e-5 / width)
