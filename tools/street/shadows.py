# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Shadows that moving and parked things throw on the ground, drawn straight into the image."""

from __future__ import annotations

from typing import List, Sequence

import cv2
import numpy as np

from segformer_ros.camera import Calibration

_NEAR = 0.3  # metres ahead of the camera
_FIXED_BITS = 4  # of sub-pixel outlines


def hull(points: np.ndarray) -> np.ndarray:
    """Convex hull (n, 2) float64 of points (m, 2), to about a tenth of a millimetre."""
    origin = points.mean(axis=0)
    found = cv2.convexHull((points - origin).astype(np.float32))
    outline: np.ndarray = found.reshape(-1, 2) + origin
    return outline


def cast(footprint: np.ndarray, height: float, sun: np.ndarray) -> np.ndarray:
    """Outline (n, 2) of the shadow of a prism; ``sun`` is the unit vector to the sun."""
    return hull(np.concatenate([footprint, footprint - sun[:2] / max(sun[2], 0.1) * height]))


def grown(outline: np.ndarray, margin: float) -> np.ndarray:
    """An outline pushed away from its middle, for the dimness around a thing's foot."""
    middle = outline.mean(axis=0)
    away = outline - middle
    length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    result: np.ndarray = middle + away * (1 + margin / length)
    return result


def draw_ground_outlines(
    mask: np.ndarray,
    outlines: Sequence[np.ndarray],
    value: int,
    rotation: np.ndarray,
    height: float,
    calibration: Calibration,
    top: int,
) -> None:
    """Fill ground outlines (n, 2), relative to the camera's foot point, into a mask.

    ``rotation`` turns them (x, y, z = -height) into the optical frame; the mask's first row is
    image row ``top``.
    """
    clipped = []
    for outline in outlines:
        points = np.column_stack([outline, np.full(len(outline), -height)]) @ rotation.T
        points = _clip(points)
        if len(points) > 2:
            clipped.append(points)
    if not clipped:
        return
    pixels = calibration.project(np.concatenate(clipped)) - (0, top)
    limit = 8.0 * max(calibration.width, calibration.height)
    start = 0
    for points in clipped:
        polygon = pixels[start : start + len(points)]
        start += len(points)
        if np.isfinite(polygon).all():
            fixed = np.clip(polygon, -limit, limit) * (1 << _FIXED_BITS)
            cv2.fillPoly(mask, [np.rint(fixed).astype(np.int32)], value, cv2.LINE_AA, _FIXED_BITS)


def _clip(points: np.ndarray) -> np.ndarray:
    """The part of a polygon (n, 3) at least _NEAR ahead (Sutherland-Hodgman on one plane)."""
    ahead = points[:, 2] >= _NEAR
    if ahead.all():
        return points
    kept: List[np.ndarray] = []
    for index, point in enumerate(points):
        previous = points[index - 1]
        if ahead[index] != ahead[index - 1]:
            share = (_NEAR - previous[2]) / (point[2] - previous[2])
            kept.append(previous + share * (point - previous))
        if ahead[index]:
            kept.append(point)
    return np.array(kept).reshape(-1, 3)
