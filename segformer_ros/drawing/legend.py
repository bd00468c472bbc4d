"""Legend: the names of the classes that a picture shows, beside their colours."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drawing.lettering import text_size

_BACKGROUND = (24, 24, 24)
_EDGE = (110, 110, 110)
_TEXT = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SIZE = 0.5
_LINE = 24  # pixels from one line to the next
_SWATCH = 14  # pixels of a colour's square
_MARGIN = 8
_SPACE = 18  # pixels between two entries


def draw_legend(class_map: ClassMap, train_ids: Sequence[int], width: int) -> np.ndarray:
    """Colours and names in as many lines as it takes: (H, width, 3) uint8 BGR.

    train_ids: classes in the order wanted; those that the class map does not have are left out.
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
        cv2.putText(legend, name, place, _FONT, _SIZE, _TEXT, 1, cv2.LINE_AA)
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
