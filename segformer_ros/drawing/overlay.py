# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Overlay: drawing labels, the boundary, a legend and a ground grid over a picture."""

from __future__ import annotations

import math
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import CLASS_NONE, ROW_NONE, DrivableArea


def colorize(labels: np.ndarray, palette_bgr: np.ndarray) -> np.ndarray:
    """Colours of a label map: (H, W, 3) uint8 BGR from (H, W) uint8 and a (256, 3) palette."""
    # applyColorMap takes a (256, 1, 3) table; it is about twenty times faster than indexing.
    return np.asarray(cv2.applyColorMap(labels, palette_bgr[:, None, :]))


def blend(
    image: np.ndarray,
    labels: np.ndarray,
    palette_bgr: np.ndarray,
    opacity: float = 0.5,
    out: Optional[np.ndarray] = None,
) -> np.ndarray:
    """Lay the classes' colours over an image: (H, W, 3) uint8 BGR.

    image: (H, W, 3) uint8 BGR. labels: (H, W) uint8. opacity: 0 shows the image alone, 1 the
    colours alone. out: the array to write into, None for a new one.
    """
    colors = colorize(labels, palette_bgr)
    if out is None:
        out = colors
    cv2.addWeighted(colors, opacity, image, 1.0 - opacity, 0.0, dst=out)
    return out


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

    The outline is the same text shifted by a pixel: thicker letters would be wider in OpenCV 5.
    """
    for right, down in _AROUND:
        moved = (place[0] + right, place[1] + down)
        cv2.putText(image, text, moved, _FONT, size, outline, 1, cv2.LINE_AA)
    cv2.putText(image, text, place, _FONT, size, color, 1, cv2.LINE_AA)


_BACKGROUND = (24, 24, 24)
_EDGE = (110, 110, 110)
_LEGEND_TEXT = (235, 235, 235)
_SIZE = 0.5
_LINE = 24  # pixels from one line to the next
_SWATCH = 14  # pixels of a colour's square
_MARGIN = 8
_SPACE = 18  # pixels between two entries


def draw_legend(class_map: ClassMap, train_ids: Sequence[int], width: int) -> np.ndarray:
    """Legend of colours and names, in as many lines as needed: (H, width, 3) uint8 BGR.

    train_ids: classes in the desired order; ids that the class map does not have are left out.
    """
    entries = [train_id for train_id in train_ids if train_id < len(class_map)]
    names = [class_map.name_of(train_id) for train_id in entries]
    places, lines = _places([_width(name) for name in names], width)
    legend = np.full((lines * _LINE + _MARGIN, width, 3), _BACKGROUND, np.uint8)
    for train_id, name, (column, line) in zip(entries, names, places):
        top = _MARGIN // 2 + line * _LINE + (_LINE - _SWATCH) // 2
        corner = (column + _SWATCH, top + _SWATCH)
        color = class_map.palette_bgr[train_id].tolist()
        cv2.rectangle(legend, (column, top), corner, color, -1)
        cv2.rectangle(legend, (column, top), corner, _EDGE, 1)
        place = (corner[0] + _MARGIN, corner[1] - 2)
        cv2.putText(legend, name, place, _FONT, _SIZE, _LEGEND_TEXT, 1, cv2.LINE_AA)
    return legend


def _width(name: str) -> int:
    return _SWATCH + _MARGIN + text_size(name, _SIZE)[0] + _SPACE


def _places(widths: Sequence[int], room: int) -> Tuple[List[Tuple[int, int]], int]:
    """(column, line) of each entry, and the number of lines."""
    places: List[Tuple[int, int]] = []
    column, line = _MARGIN, 0
    for width in widths:
        if column > _MARGIN and column + width > room:
            column, line = _MARGIN, line + 1
        places.append((column, line))
        column += width
    return places, line + 1


_OUTLINE = (30, 30, 30)
_BOUNDARY_TEXT = (255, 255, 255)
_LABEL_SPACING = 90  # pixels between two distances


def draw_boundary(image: np.ndarray, area: DrivableArea, class_map: ClassMap) -> None:
    """Draw an area's boundary into an image (H, W, 3) uint8 BGR of any size, in place.

    Each column's piece has the colour of its blocker's class. If the area is calibrated, the
    distances of the nearest blockers, in metres, are written below it.
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
        write(image, text, place, size, _BOUNDARY_TEXT, _OUTLINE)


def _labelled(columns: np.ndarray, distances: np.ndarray, spacing: float) -> List[int]:
    """Columns that get their distance written: nearest first, at least `spacing` pixels apart."""
    chosen: List[int] = []
    for index in np.argsort(distances).tolist():
        if not 0 < distances[index] < math.inf:
            continue
        if all(abs(columns[index] - columns[other]) >= spacing for other in chosen):
            chosen.append(index)
    return chosen


_LIGHT = (225, 225, 225)


def class_color(class_map: ClassMap, class_id: int) -> Tuple[int, int, int]:
    """Colour (BGR) of a class, light enough for a dark background."""
    if class_id >= len(class_map) or class_id == CLASS_NONE:
        return _LIGHT
    red, green, blue = class_map.classes[class_id].color
    lift = max(0, 110 - max(red, green, blue))
    return blue + lift, green + lift, red + lift


_GAP = 4
_TITLE_HEIGHT = 24
_PANEL_BACKGROUND = 24
_PANEL_TEXT = (235, 235, 235)


class Panel(NamedTuple):
    """One of several pictures: (H, W, 3) uint8 BGR, and its title."""

    title: str
    image: np.ndarray


def side_by_side(panels: Sequence[Panel], height: int) -> np.ndarray:
    """Two panels and the others below them, all `height` pixels high: (H, W, 3) uint8 BGR."""
    rows = [_row(part, height) for part in (panels[:2], panels[2:]) if part]
    width = max(row.shape[1] for row in rows)
    return np.vstack(
        [
            cv2.copyMakeBorder(
                row,
                0,
                0,
                0,
                width - row.shape[1],
                cv2.BORDER_CONSTANT,
                value=(_PANEL_BACKGROUND,) * 3,
            )
            for row in rows
        ]
    )


def _row(panels: Sequence[Panel], height: int) -> np.ndarray:
    parts: List[np.ndarray] = []
    for panel in panels:
        width = max(1, round(panel.image.shape[1] * height / panel.image.shape[0]))
        method = cv2.INTER_AREA if height < panel.image.shape[0] else cv2.INTER_NEAREST
        image = cv2.resize(panel.image, (width, height), interpolation=method)
        framed = cv2.copyMakeBorder(
            image,
            _TITLE_HEIGHT,
            _GAP,
            _GAP,
            _GAP,
            cv2.BORDER_CONSTANT,
            value=(_PANEL_BACKGROUND,) * 3,
        )
        place = (_GAP, _TITLE_HEIGHT - 7)
        cv2.putText(framed, panel.title, place, _FONT, 0.5, _PANEL_TEXT, 1, cv2.LINE_AA)
        parts.append(framed)
    return np.hstack(parts)


_HORIZON: Color = (60, 200, 255)
_AHEAD: Color = (80, 255, 120)
_GRID_LINE: Color = (235, 235, 235)
_GRID_OUTLINE: Color = (20, 20, 20)
_DISTANCES = (2, 3, 4, 5, 7, 10, 15, 20, 30, 50)  # units; x of the lines across
_SIDES = range(-6, 7)  # units; y of the lines ahead
_STEPS = 200  # points of a line, since a lens may bend it
_ROOM = 12  # least distance of two labels, pixels


def draw_ground_grid(
    image: np.ndarray, calibration: Calibration, pose: CameraPose, unit: str = 'm'
) -> np.ndarray:
    """Copy of an image (H, W, 3) uint8 BGR with the horizon and a grid on the ground.

    Lines ahead are one unit apart, the one in the vehicle's middle green; lines across have their
    distances written at them. unit: the unit of the pose's lengths.
    """
    canvas = np.ascontiguousarray(image).copy()
    rotation, position = pose.rotation(), pose.position
    bearing = np.linspace(-1.5, 1.5, _STEPS) + pose.yaw
    level = np.stack([np.cos(bearing), np.sin(bearing), np.zeros(_STEPS)], axis=1)
    ahead = np.geomspace(0.3, 1000.0, 2 * _STEPS)
    for side in _SIDES:
        line = np.stack([ahead, np.full_like(ahead, side), np.zeros_like(ahead)], axis=1)
        pixels = calibration.project((line - position) @ rotation)
        _draw(canvas, pixels, _AHEAD if side == 0 else _GRID_LINE, 2 if side == 0 else 1)
    lowest = float(canvas.shape[0])
    across = np.linspace(_SIDES[0], _SIDES[-1], _STEPS)
    for distance in _DISTANCES:
        line = np.stack([np.full(_STEPS, distance), across, np.zeros(_STEPS)], axis=1)
        pixels = calibration.project((line - position) @ rotation)
        _draw(canvas, pixels, _GRID_LINE, 1)
        lowest = _label(canvas, pixels, f'{distance} {unit}', lowest)
    _draw(canvas, calibration.project(level @ rotation), _HORIZON, 2)
    return canvas


def _draw(canvas: np.ndarray, pixels: np.ndarray, color: Color, thickness: int) -> None:
    """Draw a line through points (n, 2), as far as they are in the picture or near it."""
    size = np.array(canvas.shape[1::-1])
    with np.errstate(invalid='ignore'):
        near = np.all((pixels > -size) & (pixels < 2 * size), axis=1)
    for part in _runs(near):
        points = np.round(pixels[part]).astype(np.int32)
        cv2.polylines(canvas, [points], False, _GRID_OUTLINE, thickness + 1, cv2.LINE_AA)
        cv2.polylines(canvas, [points], False, color, thickness, cv2.LINE_AA)


def _runs(chosen: Any) -> Sequence[np.ndarray]:
    """Indices of each run of at least two consecutive chosen entries."""
    index = np.flatnonzero(chosen)
    parts = np.split(index, np.flatnonzero(np.diff(index) > 1) + 1)
    return [part for part in parts if len(part) > 1]


def _label(canvas: np.ndarray, pixels: np.ndarray, text: str, lowest: float) -> float:
    """Label a line across in the vehicle's middle, if there is room; the row of the last label."""
    column, row = pixels[len(pixels) // 2]
    inside = 0 <= column < canvas.shape[1] and 0 <= row < canvas.shape[0]
    if not (math.isfinite(row) and inside) or lowest - row < _ROOM:
        return lowest
    write(
        canvas,
        text,
        (round(float(column)) + 4, round(float(row)) - 3),
        0.45,
        _GRID_LINE,
        _GRID_OUTLINE,
    )
    return float(row)
