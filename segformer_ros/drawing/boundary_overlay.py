"""Boundary overlay: where the drivable area ends, and how far away, drawn over the image."""

from __future__ import annotations

import math
from typing import List

import cv2
import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drawing.birdseye import class_color
from segformer_ros.drawing.lettering import text_size, write
from segformer_ros.drivable import ROW_NONE, DrivableArea

_OUTLINE = (30, 30, 30)
_TEXT = (255, 255, 255)
_LABEL_SPACING = 90  # pixels between two distances


def draw_boundary(image: np.ndarray, area: DrivableArea, class_map: ClassMap) -> None:
    """Draw an area's boundary into an image (H, W, 3) uint8 BGR of any size, in place.

    Each column's piece has the colour of what blocks there; in a calibrated area the distances in
    metres of what is nearest stand below it.
    """
    if len(area.column) == 0:
        return
    across = image.shape[1] / area.image_width
    down = image.shape[0] / area.image_height
    columns = (area.column + 0.5) * across - 0.5
    rows = (area.boundary_row + 1) * down - 0.5
    thickness = max(1, round(image.shape[0] / 240))
    half = max(1.0, image.shape[1] / len(columns) / 2)
    ends = np.stack([columns - half, rows, columns + half, rows], axis=1).reshape(-1, 2, 2)
    blocked = area.boundary_row != ROW_NONE
    pieces = np.round(ends[blocked]).astype(np.int32)
    cv2.polylines(image, list(pieces), False, _OUTLINE, thickness + 2)
    for piece, class_id in zip(pieces, area.blocking_class[blocked].tolist()):
        cv2.polylines(image, [piece], False, class_color(class_map, class_id), thickness)
    if area.calibrated:
        _draw_distances(image, columns, rows, area.free_distance)


def _draw_distances(
    image: np.ndarray, columns: np.ndarray, rows: np.ndarray, distances: np.ndarray
) -> None:
    size = max(0.35, image.shape[0] / 1400)
    for index in _labelled(columns, distances, _LABEL_SPACING * size / 0.35):
        distance = distances[index]
        text = f'{distance:.1f}' if distance < 10 else f'{distance:.0f}'
        width, height = text_size(text, size)
        left = min(max(round(columns[index] - width / 2), 3), image.shape[1] - width - 3)
        place = (left, min(round(rows[index] + 2 * height + 2), image.shape[0] - 3))
        write(image, text, place, size, _TEXT, _OUTLINE)


def _labelled(columns: np.ndarray, distances: np.ndarray, spacing: float) -> List[int]:
    """Columns that get their distance written: the nearest of all that are `spacing` px around."""
    chosen: List[int] = []
    for index in np.argsort(distances).tolist():
        if not 0 < distances[index] < math.inf:
            continue
        if all(abs(columns[index] - columns[other]) >= spacing for other in chosen):
            chosen.append(index)
    return chosen
