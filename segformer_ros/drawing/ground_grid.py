"""Ground grid: horizon and metres drawn into a camera's picture, to check a mount by eye."""

from __future__ import annotations

import math
from typing import Any, Sequence

import cv2
import numpy as np

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.drawing.overlay import Color, write

_HORIZON: Color = (60, 200, 255)
_AHEAD: Color = (80, 255, 120)
_LINE: Color = (235, 235, 235)
_OUTLINE: Color = (20, 20, 20)
_DISTANCES = (2, 3, 4, 5, 7, 10, 15, 20, 30, 50)  # units, of the lines across
_SIDES = range(-6, 7)  # units, of the lines ahead
_STEPS = 200  # points of a line, which a lens may bend
_ROOM = 12  # pixels that two distances are apart at least


def draw_ground_grid(
    image: np.ndarray, calibration: Calibration, pose: CameraPose, unit: str = 'm'
) -> np.ndarray:
    """Copy of an image (H, W, 3) uint8 BGR with the horizon and a grid on the ground.

    Lines ahead stand one unit apart, that of the vehicle's middle in green; lines across have
    their distances written at them. unit: what the pose's lengths are in.
    """
    canvas = np.ascontiguousarray(image).copy()
    rotation, position = pose.rotation(), pose.position
    # Half the picture's height shows this far ahead at best; nearer lines are where it looks.
    bearing = np.linspace(-1.5, 1.5, _STEPS) + pose.yaw
    level = np.stack([np.cos(bearing), np.sin(bearing), np.zeros(_STEPS)], axis=1)
    ahead = np.geomspace(0.3, 1000.0, 2 * _STEPS)
    for side in _SIDES:
        line = np.stack([ahead, np.full_like(ahead, side), np.zeros_like(ahead)], axis=1)
        pixels = calibration.project((line - position) @ rotation)
        _draw(canvas, pixels, _AHEAD if side == 0 else _LINE, 2 if side == 0 else 1)
    lowest = float(canvas.shape[0])
    across = np.linspace(_SIDES[0], _SIDES[-1], _STEPS)
    for distance in _DISTANCES:
        line = np.stack([np.full(_STEPS, distance), across, np.zeros(_STEPS)], axis=1)
        pixels = calibration.project((line - position) @ rotation)
        _draw(canvas, pixels, _LINE, 1)
        lowest = _label(canvas, pixels, f'{distance} {unit}', lowest)
    _draw(canvas, calibration.project(level @ rotation), _HORIZON, 2)
    return canvas


def _draw(canvas: np.ndarray, pixels: np.ndarray, color: Color, thickness: int) -> None:
    """Draw a line through the points (n, 2) that lie in the picture or near it."""
    size = np.array(canvas.shape[1::-1])
    with np.errstate(invalid='ignore'):
        near = np.all((pixels > -size) & (pixels < 2 * size), axis=1)
    for part in _runs(near):
        points = np.round(pixels[part]).astype(np.int32)
        cv2.polylines(canvas, [points], False, _OUTLINE, thickness + 1, cv2.LINE_AA)
        cv2.polylines(canvas, [points], False, color, thickness, cv2.LINE_AA)


def _runs(chosen: Any) -> Sequence[np.ndarray]:
    """Indices of neighbours that are all chosen, two at least."""
    index = np.flatnonzero(chosen)
    parts = np.split(index, np.flatnonzero(np.diff(index) > 1) + 1)
    return [part for part in parts if len(part) > 1]


def _label(canvas: np.ndarray, pixels: np.ndarray, text: str, lowest: float) -> float:
    """Write a distance where its line passes the vehicle's middle; the row where it stands."""
    column, row = pixels[len(pixels) // 2]
    inside = 0 <= column < canvas.shape[1] and 0 <= row < canvas.shape[0]
    if not (math.isfinite(row) and inside) or lowest - row < _ROOM:
        return lowest
    write(canvas, text, (round(float(column)) + 4, round(float(row)) - 3), 0.45, _LINE, _OUTLINE)
    return float(row)
