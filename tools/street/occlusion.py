# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which surfaces lie wholly behind others, found on a coarse grid before anything is drawn.

A street hides most of itself: about half of all quadrilaterals on the screen are never seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tools.street.raster import View

_CELL = 8  # pixels
_LEAST_AREA = 400  # pixels: what is smaller hides too little to be worth asking
_MARGIN = 0.5  # pixels inside the outline, for lenses that bend straight edges
_SLACK = 0.05  # metres


class Occlusion:
    """A coarse depth buffer: how far away the surfaces that fill a cell are at most."""

    def __init__(self, view: View) -> None:
        calibration = view.calibration
        self._rows, self._cols = calibration.height // _CELL, calibration.width // _CELL
        ends = (0, _CELL - 1)
        u = (np.arange(self._cols)[:, None] * _CELL + ends).ravel()
        v = (np.arange(self._rows)[:, None] * _CELL + ends).ravel()
        # Rays at the corner pixels of all cells: (2 rows, 2 cols), broadcast like the view's own.
        self._x = view.x[:, u] if len(view.x) == 1 else view.x[np.ix_(v, u)]
        self._y = view.y[v] if view.y.shape[1] == 1 else view.y[np.ix_(v, u)]

    def hidden(
        self, forms: np.ndarray, opaque: np.ndarray, nearest: np.ndarray, bounds: np.ndarray
    ) -> np.ndarray:
        """Which of N quadrilaterals cannot be seen: (N,) bool.

        ``forms`` (N, 7, 3) are edges and plane, ``opaque`` (N,) bool, ``nearest`` (N,) the depth
        of the nearest corner, ``bounds`` (N, 4) the pixel boxes.
        """
        depth = np.full((self._rows + 1, self._cols + 1), np.inf, np.float32)
        area = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
        for occluder in np.flatnonzero(opaque & (area >= _LEAST_AREA)):
            self._cover(depth, forms[occluder], bounds[occluder])
        # The last row and column stand for the image's odd rest: never covered.
        first, last = bounds[:, :2] // _CELL, (bounds[:, 2:] - 1) // _CELL + 1
        result = np.zeros(len(forms), bool)
        for index in np.flatnonzero(area > 0).tolist():
            rows = slice(first[index, 1], last[index, 1])
            cols = slice(first[index, 0], last[index, 0])
            result[index] = nearest[index] > depth[rows, cols].max() + _SLACK
        return result

    def _cover(self, depth: np.ndarray, forms: np.ndarray, box: np.ndarray) -> None:
        """Enter the cells that a quadrilateral fills from corner to corner."""
        c0, r0 = -(-box[:2] // _CELL)
        c1, r1 = np.minimum(box[2:] // _CELL, (self._cols, self._rows))
        if c1 <= c0 or r1 <= r0:
            return
        rows, cols = slice(2 * r0, 2 * r1), slice(2 * c0, 2 * c1)
        x = self._x[:, cols] if len(self._x) == 1 else self._x[rows, cols]
        y = self._y[rows] if self._y.shape[1] == 1 else self._y[rows, cols]
        a, b, c = (forms[[0, 1, 2, 3, 6], i, None, None] for i in range(3))
        values = a * x + (b * y + c)
        corners = values.reshape(5, r1 - r0, 2, c1 - c0, 2).min(axis=(2, 4))
        filled = (corners[:4].min(axis=0) > _MARGIN) & (corners[4] > 0)
        part = depth[r0:r1, c0:c1]
        with np.errstate(divide='ignore'):
            np.minimum(part, 1 / corners[4], out=part, where=filled)
