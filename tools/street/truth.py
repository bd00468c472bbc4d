# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Exact free distance per image column: where the column's fan of rays leaves the road.

For the column at integer pixel u, go up from the bottom row; the first pixel whose label is not
road is the *blocker*. Between that pixel's centre and the road pixel's centre below it the border
is found on continuous rays by two rounds of 17 samples, to 1/256 pixel. The free distance is the
horizontal range on the ground from the camera's foot point to where the border ray meets the
ground: for things standing on the ground that is their contact point, for a sidewalk its kerb.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tools.street import labels
from tools.street.groundview import Place, to_world
from tools.street.layout import Ground
from tools.street.raster import covers
from tools.street.renderer import Picture, Renderer

_SAMPLES = 17
_ROUNDS = 2


class FreeSpace(NamedTuple):
    """Per image column: free distance (W,) float32 in metres and blocking label (W,) uint8."""

    distance: np.ndarray
    blocker: np.ndarray


def free_space(renderer: Renderer, picture: Picture, t: float) -> FreeSpace:
    """Free distance and blocker of every column of a rendered frame.

    0 where the bottom pixel is not road already, inf where the road runs to the horizon or fills
    the column; the blocker of a column that is all road is 255.
    """
    height, width = picture.labels.shape
    columns = np.arange(width)
    blocked = picture.labels[::-1] != labels.ROAD
    steps = blocked.argmax(axis=0)  # road pixels from the bottom
    rows = height - 1 - steps
    blocker = picture.labels[rows, columns].copy()
    open_end = ~blocked.any(axis=0)
    blocker[open_end] = 255
    distance = np.zeros(width, np.float32)
    distance[open_end] = np.inf
    search = (steps > 0) & ~open_end
    if search.any():
        border = _borders(renderer, picture, t, columns[search], rows[search])
        distance[search] = ground_range(renderer, columns[search], border)
    distance[search & (blocker == labels.SKY)] = np.inf  # road up to the very horizon
    return FreeSpace(distance, blocker)


def ground_range(renderer: Renderer, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Horizontal range (N,) from the camera's foot point to the ground seen at (u, v)."""
    rays = _rays(renderer, u, v)
    with np.errstate(divide='ignore', invalid='ignore'):
        scale = np.where(rays[..., 2] < -1e-9, -renderer.pose.height / rays[..., 2], np.inf)
        reach: np.ndarray = scale * np.hypot(rays[..., 0], rays[..., 1])
    return reach


def _rays(renderer: Renderer, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Rays (..., 3) in the vehicle frame."""
    pixels = np.stack(np.broadcast_arrays(u, v), axis=-1)
    rays: np.ndarray = renderer.view.calibration.unproject(pixels) @ renderer.rotation.T
    return rays


def _borders(
    renderer: Renderer, picture: Picture, t: float, columns: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Sub-pixel row (N,) at which each column's rays leave the road, above row ``rows + 1``."""
    surface = picture.surface[rows, columns]
    ego = renderer.scene.ego.place(t)
    ground = renderer.scene.painter.ground(ego[0])
    low = rows + 1.0  # the last row known to be road
    size = 1.0
    for _ in range(_ROUNDS):
        v = low[:, None] - size * np.linspace(0, 1, _SAMPLES)
        hit = _blocked(renderer, picture, ego, ground, columns, surface, v)
        hit[:, 0], hit[:, -1] = False, True
        first = hit.argmax(axis=1)
        size /= _SAMPLES - 1
        low = low - (first - 1) * size
    return low - size / 2


def _blocked(
    renderer: Renderer,
    picture: Picture,
    ego: Place,
    ground: Ground,
    columns: np.ndarray,
    surface: np.ndarray,
    v: np.ndarray,
) -> np.ndarray:
    """Whether the rays at rows v (N, S) of the columns (N,) leave the road: (N, S) bool."""
    pixels = np.stack(np.broadcast_arrays(columns[:, None].astype(float), v), axis=-1)
    optical = renderer.view.calibration.unproject(pixels)
    rays = optical @ renderer.rotation.T
    down = rays[..., 2] < -1e-9
    scale = -renderer.pose.height / np.where(down, rays[..., 2], -1.0)
    points = renderer.pose.position[:2] + scale[..., None] * rays[..., :2]
    world = to_world(points, ego)
    _, label = ground.locate(world[..., 0], world[..., 1])
    hit = (label != labels.ROAD) | ~down
    standing = np.flatnonzero(surface >= 0)
    if len(standing):
        hit[standing] |= covers(
            picture.forms,
            picture.quads,
            surface[standing],
            renderer.view.calibration,
            optical[standing, :, 0],
            optical[standing, :, 1],
        )
    return hit
