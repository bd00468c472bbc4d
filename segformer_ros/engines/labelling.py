"""From logits to the label map and the confidence of a frame, on the CPU."""

from __future__ import annotations

import math
from typing import Iterator, Tuple

import cv2
import numpy as np


def label_map(logits: np.ndarray, size: Tuple[int, int], upsampling: str) -> np.ndarray:
    """Label of each pixel: (H, W) uint8 from (C, h, w) float32 logits.

    'exact' equals the argmax over bilinearly upsampled logits; the lower class wins a tie.
    'fast' takes the argmax first and repeats it to the size.
    """
    if upsampling == 'fast':
        return resize_labels(np.argmax(logits, axis=0).astype(np.uint8), size)
    return _exact_labels(logits, size)


def resize_labels(labels: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Labels (h, w) at another (height, width): each pixel takes the label nearest to it."""
    if labels.shape == size:
        return labels
    # INTER_NEAREST_EXACT has its sample points at pixel centres, as the bilinear resize has.
    return np.asarray(cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def confidence_map(logits: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Probability of the best class: (H, W) uint8, 0..255 for 0..1, from (C, h, w) logits.

    The softmax is taken at the logits' size and its maximum upsampled: a 1080p frame would need
    40 million exponentials otherwise.
    """
    best = 1.0 / np.exp(logits - logits.max(axis=0)).sum(axis=0)
    upsampled = cv2.resize(best, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.convertScaleAbs(upsampled, alpha=255.0))


def _exact_labels(logits: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    best = np.full(size, -np.inf, np.float32)
    labels = np.zeros(size, np.uint8)
    upsampled = np.empty(size, np.float32)
    for index, cells in enumerate(_candidates(logits)):
        if not cells.any():
            continue
        _upsample_rows(logits[index], _reach(np.any(cells, axis=1)), upsampled)
        for window in _windows(cells, size):
            better = cv2.compare(upsampled[window], best[window], cv2.CMP_GT)
            # Some ten times faster than an assignment by a boolean mask.
            cv2.copyTo(np.full_like(better, index), better, labels[window])
            cv2.max(upsampled[window], best[window], dst=best[window])
    return labels


def _candidates(logits: np.ndarray) -> np.ndarray:
    """Where each class can be the maximum of some upsampled pixel: (C, h, w) bool.

    Within a cell of four logits an interpolated logit lies between the least and the greatest
    corner. A class whose greatest corner is below another's least corner can nowhere win there,
    and most classes of a street are absent from most of a frame. A cell is named by its lower
    right corner.
    """
    least = np.stack([cv2.erode(plane, _CELL) for plane in logits])
    greatest = np.stack([cv2.dilate(plane, _CELL) for plane in logits])
    possible: np.ndarray = greatest >= least.max(axis=0)
    return possible


def _reach(cells: np.ndarray) -> slice:
    """The logits along one axis that the first to the last cell set, (n,) bool, lie between."""
    found = np.flatnonzero(cells)
    return slice(max(int(found[0]) - 1, 0), int(found[-1]) + 1)


def _windows(cells: np.ndarray, size: Tuple[int, int]) -> Iterator[Tuple[slice, slice]]:
    """Windows of a frame of (height, width) `size` that hold all cells (h, w) that are set.

    Some rows each: they hold few cells that are not set, and stay in the processor's cache.
    """
    for top in range(0, len(cells), _BAND):
        band = np.zeros_like(cells)
        band[top : top + _BAND] = cells[top : top + _BAND]
        if band.any():
            yield _pixels(np.any(band, axis=1), size[0]), _pixels(np.any(band, axis=0), size[1])


def _pixels(cells: np.ndarray, pixels: int) -> slice:
    """The part of an axis of so many pixels that the cells set, (n,) bool, lie in."""
    reach = _reach(cells)
    return slice(reach.start * pixels // len(cells), -(-reach.stop * pixels // len(cells)))


def _upsample_rows(plane: np.ndarray, rows: slice, upsampled: np.ndarray) -> None:
    """Upsample some rows of a plane (h, w) into their place in (H, W) float32.

    Rows are cut where a source row and a pixel row begin together, one such step further than
    they reach, so that they are the same as in the whole plane; that step is only context.
    """
    height, width = upsampled.shape
    common = math.gcd(plane.shape[0], height)
    step, pixels = plane.shape[0] // common, height // common
    first = max(rows.start // step - 1, 0)
    last = min(-(-rows.stop // step) + 1, common)
    part = plane[first * step : last * step]
    place = upsampled[first * pixels : last * pixels]
    cv2.resize(part, (width, len(place)), dst=place, interpolation=cv2.INTER_LINEAR)


_CELL = np.ones((2, 2), np.uint8)
_BAND = 9  # rows of cells
