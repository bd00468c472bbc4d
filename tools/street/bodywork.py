# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Painting the sides of vehicles: sheet metal, glass, wheels, lamps."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from tools.street.props import Face, neighbours
from tools.street.texture import Texture, noise, textured, tile_to

RES = 64  # texels per metre

Color = Tuple[float, float, float]
Points = Sequence[Tuple[float, float]]

PAINTS: Tuple[Color, ...] = (
    (200, 200, 200),
    (150, 152, 150),
    (110, 112, 112),
    (40, 40, 42),
    (22, 22, 24),
    (45, 35, 130),
    (130, 70, 35),
    (85, 45, 25),
    (60, 90, 50),
    (225, 228, 230),
    (120, 140, 150),
    (30, 30, 90),
)
DARK: Color = (14, 14, 15)
HEADLAMP: Color = (225, 230, 230)
TAIL_LAMP: Color = (32, 32, 190)


class Shell(NamedTuple):
    """A vehicle in its own frame (x forward, y left, z up, its middle at the origin)."""

    faces: Tuple[Face, ...]
    links: np.ndarray  # (F, 4) int, neighbour of each face's edges, or -1
    footprint: np.ndarray  # (4, 2)
    height: float


def shell(faces: Tuple[Face, ...], length: float, width: float, height: float) -> Shell:
    """A shell with a rectangular footprint."""
    x, y = length / 2, width / 2
    return Shell(
        faces,
        neighbours([face.corners for face in faces]),
        np.array([[x, y], [-x, y], [-x, -y], [x, -y]]),
        height,
    )


def canvas(width: float, height: float, color: Color, seed: int) -> np.ndarray:
    """Sheet metal of a size in metres: (rows, columns, 3) uint8 at RES texels per metre."""
    rows, cols = max(2, round(height * RES)), max(2, round(width * RES))
    grain = tile_to(noise(256, (3, 8), seed % 8), rows, cols)
    return textured(color, grain, 0.05)


class Panel:
    """Draws the side of a vehicle; x runs to the front, in metres."""

    def __init__(self, length: float, height: float, paint: Color, seed: int) -> None:
        self.picture = canvas(length, height, paint, seed)
        self.height = height

    def fixed(self, points: Points) -> np.ndarray:
        """Points (x, z) in metres as texels (N, 2) int32 of the picture."""
        return np.array(
            [[round(x * RES), round((self.height - z) * RES)] for x, z in points], np.int32
        )

    def shape(self, points: Points, color: Color) -> None:
        """Fill a polygon of points (x, z) in metres."""
        cv2.fillPoly(self.picture, [self.fixed(points)], color, cv2.LINE_AA)

    def line(self, points: Points, color: Color, width: int = 1) -> None:
        """Draw a line through points (x, z) in metres; `width` in texels."""
        cv2.polylines(self.picture, [self.fixed(points)], False, color, width, cv2.LINE_AA)

    def box(self, x0: float, x1: float, z0: float, z1: float, color: Color) -> None:
        """Fill an upright rectangle, in metres."""
        self.shape([(x0, z0), (x1, z0), (x1, z1), (x0, z1)], color)

    def wheel(self, x: float, radius: float) -> None:
        """Draw a wheel that stands on the lower edge, in metres."""
        u, v = self.fixed([(x, radius)])[0]
        size = round(radius * RES)
        cv2.circle(self.picture, (u, v), round(size * 1.18), (12, 12, 12), -1, cv2.LINE_AA)
        cv2.circle(self.picture, (u, v), size, (28, 28, 28), -1, cv2.LINE_AA)
        cv2.circle(self.picture, (u, v), round(size * 0.62), (125, 125, 125), -1, cv2.LINE_AA)
        for spoke in np.arange(5) * 2 * np.pi / 5:
            tip = (int(u + np.cos(spoke) * size * 0.55), int(v + np.sin(spoke) * size * 0.55))
            cv2.line(self.picture, (u, v), tip, (70, 70, 70), 2, cv2.LINE_AA)

    def polish(self) -> None:
        """Let the upper half mirror some sky and the lower half the dark road."""
        z = np.linspace(1, 0, self.picture.shape[0], dtype=np.float32)[:, None, None]
        gain = np.interp(z, [0, 0.3, 0.6, 0.85, 1], [0.6, 0.8, 0.95, 1.12, 1.05])
        gloss = np.interp(z, [0, 0.55, 0.8, 0.92, 1], [0, 4, 26, 34, 16])
        self.picture = np.clip(self.picture * gain + gloss, 0, 255).astype(np.uint8)

    def texture(
        self,
        outline: Optional[Points] = None,
        part: Tuple[float, float] = (0, 1),
    ) -> Texture:
        """What was drawn, inside an outline, between two shares of the length."""
        columns = self.picture.shape[1]
        cut = slice(
            int(part[0] * columns), max(int(part[0] * columns) + 2, round(part[1] * columns))
        )
        picture = np.ascontiguousarray(self.picture[:, cut])
        if outline is None:
            return Texture(picture)
        alpha = np.zeros(self.picture.shape[:2], np.uint8)
        cv2.fillPoly(alpha, [self.fixed(outline)], 255)
        return Texture(np.dstack([picture, alpha[:, cut]]))


def glass(width: float, height: float, seed: int, frame: Color, panes: int = 1) -> Texture:
    """A window: dim inside, seats, mirrored sky, split by pillars of the frame's colour."""
    rng = np.random.default_rng((61, seed))
    rows, cols = max(4, round(height * RES)), max(4, round(width * RES))
    low, high = rng.uniform(15, 40), rng.uniform(45, 160)
    sky = np.interp(np.linspace(0, 1, rows), [0, rng.uniform(0.3, 0.9), 1], [high, low, low])
    picture = np.broadcast_to(
        sky[:, None, None] * np.array([1.1, 1.02, 0.95]), (rows, cols, 3)
    ).copy()
    for share in rng.uniform(0.1, 0.85, 2):  # head rests
        x = int(share * cols)
        cv2.rectangle(picture, (x, rows // 3), (x + max(2, cols // 10), rows), (18, 18, 20), -1)
    edge = max(1, round(0.035 * RES))
    cv2.rectangle(picture, (0, 0), (cols - 1, rows - 1), frame, edge)
    for pane in range(1, panes):
        x = cols * pane // panes
        cv2.rectangle(picture, (x - edge, 0), (x + edge, rows), (22, 22, 24), -1)
    return Texture(np.clip(picture, 0, 255).astype(np.uint8))


def darker(color: Color, factor: float) -> Color:
    """A colour times a factor below 1."""
    return color[0] * factor, color[1] * factor, color[2] * factor
