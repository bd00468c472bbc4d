"""Views of a scored frame: truth and prediction as colours, and what is wrong."""

from __future__ import annotations

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.drawing.overlay import blend, colorize

_WRONG = (40, 40, 235)
_WRONG_OPACITY = 0.65
_DIM = 0.35
"""Brightness of what is not scored."""


def overlay_view(image: np.ndarray, labels: np.ndarray, class_map: ClassMap) -> np.ndarray:
    """The classes' colours over the image: (H, W, 3) uint8 BGR; pixels without a class as is."""
    view = blend(image, labels, class_map.palette_bgr, 0.6)
    np.copyto(view, image, where=(labels == IGNORE_ID)[..., None])
    return view


def truth_view(labels: np.ndarray, class_map: ClassMap) -> np.ndarray:
    """The classes' colours alone: (H, W, 3) uint8 BGR; what is not labelled is black."""
    return colorize(labels, class_map.palette_bgr)


def error_view(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """What is wrong: (H, W, 3) uint8 BGR.

    Grey where the classes agree, red where they differ, dark where the truth is not scored.
    image: (H, W, 3) uint8 BGR. truth, predicted: (H, W) uint8 ids of the same kind.
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    ignored = truth == IGNORE_ID
    wrong = (truth != predicted) & ~ignored
    view = np.asarray(grey)
    red = view[wrong] * (1 - _WRONG_OPACITY) + np.array(_WRONG) * _WRONG_OPACITY
    view[wrong] = red.astype(np.uint8)
    view[ignored] = (view[ignored] * _DIM).astype(np.uint8)
    return view
