"""From logits to the label map and the confidence of a frame, on the CPU."""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.engines.exact_labels import exact_labels


def label_map(logits: np.ndarray, size: Tuple[int, int], upsampling: str) -> np.ndarray:
    """Label of each pixel: (H, W) uint8 from (C, h, w) float32 logits.

    'exact' equals the argmax over bilinearly upsampled logits; the lower class wins a tie.
    'fast' takes the argmax first and repeats it to the size. Where logits are no numbers (NaN, as
    of damaged weights or a precision too low) there is no class (255), and never the first one.
    """
    if upsampling == 'fast':
        best = np.argmax(logits, axis=0)
        unknown = np.isnan(np.take_along_axis(logits, best[None], axis=0)[0])
        return resize_labels(np.where(unknown, IGNORE_ID, best).astype(np.uint8), size)
    return exact_labels(logits, size)


def as_labels(values: np.ndarray) -> np.ndarray:
    """Labels (h, w) uint8 of a network's own integers; 255 for those that uint8 does not hold."""
    if values.dtype == np.uint8:
        return values.copy()
    return np.where((values < 0) | (values > IGNORE_ID), IGNORE_ID, values).astype(np.uint8)


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
    with np.errstate(invalid='ignore', over='ignore'):
        best = np.nan_to_num(1.0 / np.exp(logits - logits.max(axis=0)).sum(axis=0), copy=False)
    upsampled = cv2.resize(best, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.convertScaleAbs(upsampled, alpha=255.0))
