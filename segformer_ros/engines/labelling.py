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
    scratch = np.empty(size, np.float32)
    for index, rows in _candidates(logits):
        place, plane = _upsampled_rows(logits[index], rows, scratch)
        better = cv2.compare(plane, best[place], cv2.CMP_GT)
        # Some ten times faster than an assignment by a boolean mask.
        cv2.copyTo(np.full_like(better, index), better, labels[place])
        cv2.max(plane, best[place], dst=best[place])
    return labels


def _candidates(logits: np.ndarray) -> Iterator[Tuple[int, slice]]:
    """Classes that can be the maximum of some upsampled pixel, and the logits' rows where.

    Within a cell of four logits an interpolated logit lies between the least and the greatest
    corner. A class whose greatest corner is below another's least corner in every cell can
    nowhere win, and most classes of a street are absent from most rows of a frame.
    """
    least = np.stack([cv2.erode(plane, _CELL) for plane in logits])
    greatest = np.stack([cv2.dilate(plane, _CELL) for plane in logits])
    possible = (greatest >= least.max(axis=0)).any(axis=2)
    for index, rows in enumerate(possible):
        found = np.flatnonzero(rows)
        if len(found):
            # A cell reaches from its row's predecessor to the row itself.
            yield index, slice(max(found[0] - 1, 0), found[-1] + 1)


def _upsampled_rows(
    plane: np.ndarray, rows: slice, scratch: np.ndarray
) -> Tuple[slice, np.ndarray]:
    """The part of an upsampled plane (h, w) that some of its rows reach, and where it lies.

    scratch: (H, W) float32 of the size upsampled to; the part is a view of it.

    Rows are cut where a source row and a pixel row begin together, one such step further than
    they reach, so that the part is the same as in the whole plane.
    """
    height, width = scratch.shape
    common = math.gcd(plane.shape[0], height)
    step, pixels = plane.shape[0] // common, height // common
    first = max(rows.start // step - 1, 0)
    last = min(-(-rows.stop // step) + 1, common)
    part = plane[first * step : last * step]
    upsampled = scratch[: (last - first) * pixels]
    cv2.resize(part, (width, len(upsampled)), dst=upsampled, interpolation=cv2.INTER_LINEAR)
    # Rows next to a cut repeat the border there; they are only context.
    above = pixels if first else 0
    below = pixels if last < common else 0
    return (
        slice(first * pixels + above, last * pixels - below),
        upsampled[above : len(upsampled) - below],
    )


_CELL = np.ones((2, 2), np.uint8)
