"""The golden reference: what every engine's numbers are held against. Slow, plain, float64."""

from __future__ import annotations

from typing import Callable, Tuple

import numpy as np

from segformer_ros.engines.placement import Fit, fit_frame
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec


def reference_scores(
    frame: Frame, spec: ModelSpec, infer: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Scores of a frame at its own size: (C, H, W) float64.

    `infer` is the bare network on (1, h, w, 3) pixels of 0..255 in BGR order, rounded to whole
    numbers as the uint8 input has them, and gives (C, h', w').
    """
    fit = fit_frame((frame.height, frame.width), spec.size, spec.fit, spec.stride)
    pixels = np.zeros((*fit.network, 3))
    content = np.moveaxis(
        resize_bilinear(np.moveaxis(frame.bgr().astype(np.float64), -1, 0), fit.content), 0, -1
    )
    pixels[: fit.content[0], : fit.content[1]] = np.floor(content + 0.5)
    scores = infer(pixels[None].astype(np.uint8))
    return resize_bilinear(_crop(scores, fit), (frame.height, frame.width))


def resize_bilinear(planes: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Resize (C, h, w) to (C, height, width) float64; samples lie at pixel centres.

    The same rule as OpenCV's INTER_LINEAR and PyTorch's `align_corners=False`: no antialiasing,
    the border is repeated.
    """
    rows, row_weights = _taps(planes.shape[1], size[0])
    columns, column_weights = _taps(planes.shape[2], size[1])
    planes = planes.astype(np.float64)
    above, below = planes[:, rows[0]], planes[:, rows[1]]
    planes = above + (below - above) * row_weights[None, :, None]
    left, right = planes[:, :, columns[0]], planes[:, :, columns[1]]
    return np.asarray(left + (right - left) * column_weights[None, None, :])


def _taps(source: int, target: int) -> Tuple[np.ndarray, np.ndarray]:
    """The two source samples and the weight of the second for each target sample."""
    position = (np.arange(target) + 0.5) * source / target - 0.5
    position = np.clip(position, 0, source - 1)
    first = np.floor(position).astype(np.intp)
    second = np.minimum(first + 1, source - 1)
    return np.stack([first, second]), position - first


def _crop(scores: np.ndarray, fit: Fit) -> np.ndarray:
    """The frame's part of the scores; whole cells, since a letterbox ends on them."""
    rows = scores.shape[1] * fit.content[0] // fit.network[0]
    columns = scores.shape[2] * fit.content[1] // fit.network[1]
    return scores[:, :rows, :columns]
