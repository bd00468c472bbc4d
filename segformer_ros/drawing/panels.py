"""Pictures for people: panels side by side."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence

import cv2
import numpy as np

_GAP = 4
_TITLE_HEIGHT = 24
_BACKGROUND = 24
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT = (235, 235, 235)


class Panel(NamedTuple):
    """One picture of several: (H, W, 3) uint8 BGR under its title."""

    title: str
    image: np.ndarray


def side_by_side(panels: Sequence[Panel], height: int) -> np.ndarray:
    """Panels in rows of two, all `height` pixels high, as one (H, W, 3) uint8 BGR picture."""
    rows = [_row(panels[start : start + 2], height) for start in range(0, len(panels), 2)]
    width = max(row.shape[1] for row in rows)
    return np.vstack(
        [
            cv2.copyMakeBorder(
                row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=(_BACKGROUND,) * 3
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
            value=(_BACKGROUND,) * 3,
        )
        place = (_GAP, _TITLE_HEIGHT - 7)
        cv2.putText(framed, panel.title, place, _FONT, 0.5, _TEXT, 1, cv2.LINE_AA)
        parts.append(framed)
    return np.hstack(parts)
