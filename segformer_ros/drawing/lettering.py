"""Lettering: text that can be read over any picture."""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

Color = Tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_AROUND = ((-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1))


def text_size(text: str, size: float) -> Tuple[int, int]:
    """Width and height of a text in pixels; size: OpenCV's font scale."""
    (width, height), _ = cv2.getTextSize(text, _FONT, size, 1)
    return width, height


def write(
    image: np.ndarray, text: str, place: Tuple[int, int], size: float, color: Color, outline: Color
) -> None:
    """Write into an image (H, W, 3), from the text's lower left corner `place` (column, row).

    The outline is the same letters a pixel aside: thicker ones are also wider in OpenCV 5.
    """
    for right, down in _AROUND:
        moved = (place[0] + right, place[1] + down)
        cv2.putText(image, text, moved, _FONT, size, outline, 1, cv2.LINE_AA)
    cv2.putText(image, text, place, _FONT, size, color, 1, cv2.LINE_AA)
