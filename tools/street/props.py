# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Things that stand in the street: surfaces, sprites that face the camera, and footprints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tools.street.texture import Texture

Color = Tuple[float, float, float]  # BGR, a factor on the texture's albedo
WHITE: Color = (1.0, 1.0, 1.0)


class Face(NamedTuple):
    """A textured quadrilateral: top left, top right, bottom right, bottom left from its front."""

    corners: np.ndarray  # (4, 3) float64, metres
    texture: Texture
    label: int
    tint: Color = WHITE
    instance: int = 0
    glow: float = 0.0  # own light
    sky: float = 1.0  # share of the sky's light that reaches it
    detail: int = 0  # drawn always (0), only near by (1) or only far off (-1)
    frame: Optional[np.ndarray] = None  # (3, 3): the texture's top left, top right, bottom left,
    #                                     where these are not the face's own corners


class Sprite(NamedTuple):
    """An upright picture that turns about its vertical axis to face the camera."""

    x: float
    y: float
    bottom: float  # z of the lower border, metres
    width: float
    height: float
    texture: Texture
    label: int
    tint: Color = WHITE
    instance: int = 0
    glow: float = 0.0
    sky: float = 1.0
    flip: bool = False
    toward: float = 0.0  # metres shifted toward the camera, to lie in front of its fellows


@dataclass(frozen=True)
class Prop:
    """One thing, placed in the world frame."""

    x: float
    y: float
    faces: Tuple[Face, ...] = ()
    sprites: Tuple[Sprite, ...] = ()
    footprints: Tuple[np.ndarray, ...] = ()  # convex outlines (n, 2) where it meets the ground
    shadow: float = 0.0  # height that casts a shadow; 0 for none
    crown: float = 0.0  # radius of a tree's crown
    lamp: float = 0.0  # radius of the light it throws on the ground
    backdrop: bool = False  # drawn before all smaller things
    still: bool = True  # its shadow is painted on the ground for good
    hard: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), int))  # neighbour faces


def neighbours(corners: Sequence[np.ndarray]) -> np.ndarray:
    """For each edge of each face the face on its other side, or -1: (F, 4) int."""
    owner: Dict[Tuple[Tuple[float, ...], Tuple[float, ...]], int] = {}
    keys = [[tuple(np.round(corner, 3).tolist()) for corner in face] for face in corners]
    for index, face in enumerate(keys):
        for edge in range(4):
            owner[face[edge], face[(edge + 1) % 4]] = index
    result: List[List[int]] = [
        [owner.get((face[(edge + 1) % 4], face[edge]), -1) for edge in range(4)] for face in keys
    ]
    return np.array(result, int).reshape(-1, 4)


def placed(
    faces: Sequence[Face],
    x: float,
    y: float,
    heading: float,
    **changes: object,
) -> Tuple[Face, ...]:
    """Faces moved from their own frame (x forward, y left, z up) to a place in the world."""
    rotation, shift = turn(heading), np.array([x, y, 0.0])
    return tuple(
        face._replace(corners=face.corners @ rotation.T + shift, **changes)  # type: ignore[arg-type]
        for face in faces
    )


def turn(heading: float) -> np.ndarray:
    """Rotation about the vertical axis, (3, 3)."""
    c, s = np.cos(heading), np.sin(heading)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def rectangle(x: float, y: float, heading: float, length: float, width: float) -> np.ndarray:
    """Outline (4, 2) of a rectangle about (x, y), counter-clockwise."""
    half = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (length / 2, width / 2)
    outline: np.ndarray = half @ turn(heading)[:2, :2].T + (x, y)
    return outline


def disc(x: float, y: float, radius: float) -> np.ndarray:
    """Outline (12, 2) of a circle; a sprite shifted by the radius touches it from the front."""
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    outline: np.ndarray = np.stack([np.cos(around), np.sin(around)], axis=1) * radius + (x, y)
    return outline


def upright(
    start: Tuple[float, float],
    end: Tuple[float, float],
    bottom: float,
    top: float,
) -> np.ndarray:
    """Corners of a vertical rectangle whose front has ``start`` at its left."""
    (x0, y0), (x1, y1) = start, end
    return np.array([[x0, y0, top], [x1, y1, top], [x1, y1, bottom], [x0, y0, bottom]], float)


def _corners(*corners: Tuple[float, float, float]) -> np.ndarray:
    return np.array(corners, np.float64)


def box_shell(
    size: Tuple[float, float, float],
    sides: Sequence[Texture],
    label: int,
    bottom: float = 0.0,
    center: float = 0.0,
) -> Tuple[Face, ...]:
    """A box; ``sides`` are right, left, front, rear and roof."""
    length, width, height = size
    x0, x1, w = center - length / 2, center + length / 2, width / 2
    top = bottom + height
    quads = (
        _corners((x0, -w, top), (x1, -w, top), (x1, -w, bottom), (x0, -w, bottom)),
        _corners((x1, w, top), (x0, w, top), (x0, w, bottom), (x1, w, bottom)),
        _corners((x1, -w, top), (x1, w, top), (x1, w, bottom), (x1, -w, bottom)),
        _corners((x0, w, top), (x0, -w, top), (x0, -w, bottom), (x0, w, bottom)),
        _corners((x0, w, top), (x1, w, top), (x1, -w, top), (x0, -w, top)),
    )
    return tuple(Face(quad, texture, label) for quad, texture in zip(quads, sides, strict=False))
