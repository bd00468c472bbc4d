# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A small rasteriser: textured quadrilaterals in space, seen along per-pixel camera rays.

Every test is made on the ray through a pixel's centre, so labels and depth are exact for any
lens; colour is anti-aliased by the distance to the quadrilateral's outline.

A quadrilateral has corners P0..P3 in the optical frame, clockwise as seen from its front. Its
texture's top left, top right and bottom left lie at A, B, C in its plane. With M = [B-A, C-A, A]
a ray r (z = 1) meets the plane where ``(s, t, 1) / z = inv(M) @ r``: three linear forms of the
ray, as is the side of each edge on which it passes: ``(Pi x Pj) . r``.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.camera import Calibration
from tools.street.occlusion import Occlusion
from tools.street.texture import Texture

_NEAR = 0.1  # metres: what is nearer is not drawn
_HALF = np.float32(0.5)
_OUTLINE_STEPS = 4  # parts of an edge whose ends bound its image under lens distortion


class Quads(NamedTuple):
    """Quadrilaterals of a scene, in the optical frame, in drawing order (far to near)."""

    corners: np.ndarray  # (N, 4, 3) float64
    frames: np.ndarray  # (N, 3, 3) float64: A, B, C of the texture
    textures: Sequence[Texture]  # N
    tones: Sequence[np.ndarray]  # N tables (256, 1, 3) uint8: albedo -> colour in the image
    hard: np.ndarray  # (N, 4) bool: edges P0P1, P1P2, P2P3, P3P0 inside an object


class Forms(NamedTuple):
    """Linear forms of the ray for N quadrilaterals."""

    plane: np.ndarray  # (N, 3, 3): rows s/z, t/z, 1/z
    edges: np.ndarray  # (N, 4, 3): positive inside, in pixels from the edge


class View:
    """The rays of a camera as arrays that broadcast to (H, W): x/z and y/z, float32."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        rays = calibration.rays()
        self.rays = rays
        x, y = rays[..., 0].astype(np.float32), rays[..., 1].astype(np.float32)
        straight = calibration.is_pinhole
        self.x = x[:1] if straight else x
        self.y = y[:, :1] if straight else y
        self.occlusion = Occlusion(self)

    def window(self, rows: slice, cols: slice) -> Tuple[np.ndarray, np.ndarray]:
        """Ray components of a part of the image."""
        x = self.x[:, cols] if len(self.x) == 1 else self.x[rows, cols]
        y = self.y[rows] if self.y.shape[1] == 1 else self.y[rows, cols]
        return x, y


def linear_forms(corners: np.ndarray, frames: np.ndarray, calibration: Calibration) -> Forms:
    """Forms of quadrilaterals (N, 4, 3); those seen from behind have all edges negative."""
    origin = frames[:, 0]
    basis = np.stack([frames[:, 1] - origin, frames[:, 2] - origin, origin], axis=2)
    plane = np.linalg.inv(basis)
    edges = np.cross(corners, np.roll(corners, -1, axis=1))
    slope = np.hypot(edges[..., 0] / calibration.fx, edges[..., 1] / calibration.fy)
    edges = edges / np.maximum(slope, 1e-12)[..., None]
    return Forms(plane, edges)


def facing(corners: np.ndarray) -> np.ndarray:
    """Which quadrilaterals (N, 4, 3) turn their front to the camera and span a volume: (N,)."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
    front: np.ndarray = np.einsum('ij,ij->i', normal, corners[:, 0]) > 1e-6
    return front


def image_bounds(corners: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Pixel boxes (N, 4) int: u0, v0, u1, v1 (ends excluded), empty where nothing is seen."""
    steps = np.linspace(0, 1, _OUTLINE_STEPS, endpoint=False)[:, None]
    ahead = np.roll(corners, -1, axis=1)
    outline = corners[:, :, None] * (1 - steps) + ahead[:, :, None] * steps
    outline = outline.reshape(len(corners), 4 * _OUTLINE_STEPS, 3)
    following = np.roll(outline, -1, axis=1)
    # Where an edge crosses the near plane, its crossing point bounds the visible part.
    z0, z1 = outline[..., 2], following[..., 2]
    with np.errstate(divide='ignore', invalid='ignore'):
        share = np.clip((_NEAR - z0) / (z1 - z0), 0, 1)
        crossing = outline + (following - outline) * share[..., None]
    crosses = (z0 < _NEAR) != (z1 < _NEAR)
    crossing[~crosses] = np.nan
    outline = np.where((z0 < _NEAR)[..., None], np.nan, outline)
    points = np.concatenate([outline, crossing], axis=1)
    pixels = calibration.project(points)
    seen = np.isfinite(points[..., 0])
    size = np.array([calibration.width, calibration.height])
    # Beyond the lens's fold there is no image; such a point bounds the surface in its direction.
    lost = np.isnan(pixels[..., 0]) & seen
    if lost.any():
        away = points[lost][:, :2]
        away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
        pixels[lost] = (calibration.cx, calibration.cy) + away * 3 * size.max()
    low = np.nanmin(np.where(seen[..., None], pixels, np.inf), axis=1) - 1
    high = np.nanmax(np.where(seen[..., None], pixels, -np.inf), axis=1) + 2
    low = np.clip(np.floor(low), 0, size)
    high = np.clip(np.ceil(high), 0, size)
    high[~seen.any(axis=1)] = 0
    return np.concatenate([low, high], axis=1).astype(int)


def texture_levels(quads: Quads, calibration: Calibration) -> List[Tuple[int, int]]:
    """How often each texture's height and width are halved to about one texel per pixel."""
    corners = quads.corners
    ahead = np.roll(corners, -1, axis=1)
    metres = np.maximum(np.linalg.norm(corners - ahead, axis=2), 1e-6)
    focal = (calibration.fx, calibration.fy)
    seen = corners[..., :2] / np.maximum(corners[..., 2:], _NEAR) * focal
    pixels = np.linalg.norm(seen - np.roll(seen, -1, axis=1), axis=2)
    scale = pixels / metres  # pixels per metre along each edge
    across = np.maximum(scale[:, 0], scale[:, 2])
    down = np.maximum(scale[:, 1], scale[:, 3])
    frame = quads.frames[:, 1:] - quads.frames[:, :1]
    spans = np.linalg.norm(frame[:, ::-1], axis=2)  # metres of the texture: height, width
    sizes = np.array([texture.size for texture in quads.textures], np.float64).reshape(-1, 2)
    texels = sizes / np.maximum(spans * np.stack([down, across], axis=1), 0.5)
    levels = np.clip(np.floor(np.log2(np.maximum(texels, 1)) + 0.3), 0, np.log2(sizes))
    return [(int(i), int(j)) for i, j in levels]


class Canvas:
    """Image, depth and surface index of a frame under construction."""

    def __init__(self, view: View, image: np.ndarray, depth: np.ndarray) -> None:
        self.view = view
        self.image = image  # (H, W, 3) uint8 BGR
        self.depth = depth  # (H, W) float32, z
        self.surface = np.full(depth.shape, -1, np.int32)  # index of the quad, or -1

    def draw(self, quads: Quads) -> Forms:
        """Draw quadrilaterals in order; the nearest surface wins at every pixel."""
        calibration = self.view.calibration
        if not len(quads.corners):
            return Forms(np.zeros((0, 3, 3)), np.zeros((0, 4, 3)))
        forms = linear_forms(quads.corners, quads.frames, calibration)
        bounds = image_bounds(quads.corners, calibration)
        levels = texture_levels(quads, calibration)
        stacked = np.concatenate([forms.edges, forms.plane], axis=1).astype(np.float32)
        grown = quads.hard.astype(np.float32)[..., None, None]
        joined = np.asarray(quads.hard.any(axis=1))
        opaque = np.array([texture.opaque for texture in quads.textures])
        hidden = self.view.occlusion.hidden(
            stacked, opaque, quads.corners[..., 2].min(axis=1), bounds
        )
        with np.errstate(divide='ignore', invalid='ignore'):
            for index, (u0, v0, u1, v1) in enumerate(bounds.tolist()):
                if u1 > u0 and v1 > v0 and not hidden[index]:
                    self._draw_one(
                        index,
                        (slice(v0, v1), slice(u0, u1)),
                        stacked[index],
                        grown[index] if joined[index] else None,
                        quads.textures[index],
                        quads.tones[index],
                        levels[index],
                    )
        return forms

    def _draw_one(
        self,
        index: int,
        window: Tuple[slice, slice],
        forms: np.ndarray,
        grown: Optional[np.ndarray],
        texture: Texture,
        tone: np.ndarray,
        level: Tuple[int, int],
    ) -> None:
        values = _evaluate(forms, *self.view.window(*window))
        inside: np.ndarray = values[:4].min(axis=0)
        outline = inside if grown is None else (values[:4] + grown).min(axis=0)
        depth = self.depth[window]
        z = 1 / values[6]
        nearer = np.asarray(z < depth)
        nearer &= z > 0
        outline = outline + _HALF
        np.minimum(outline, 1, out=outline)
        np.maximum(outline, 0, out=outline)
        outline *= nearer
        if not outline.any():
            return
        color, alpha, mask = _sample(texture, level, values[4] * z, values[5] * z)
        weight = outline if alpha is None else outline * alpha
        image = self.image[window]
        image[...] = cv2.blendLinear(image, cv2.LUT(color, tone), 1 - weight, weight)
        nearer &= inside >= 0
        if mask is not None:
            nearer &= mask
        np.copyto(depth, z, where=nearer)
        np.copyto(self.surface[window], index, where=nearer)


def _evaluate(forms: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values (K, h, w) of linear forms (K, 3) of rays (x, y, 1)."""
    a, b, c = (forms[:, i, None, None] for i in range(3))
    values: np.ndarray = a * x + (b * y + c)
    return values


def _sample(
    texture: Texture,
    level: Tuple[int, int],
    s: np.ndarray,
    t: np.ndarray,
) -> Tuple[np.ndarray, Optional[np.ndarray], Optional[np.ndarray]]:
    """Colour (h, w, 3), visibility (h, w) float32 0..1 and outline (h, w) bool at (s, t)."""
    pixels = texture.pixels(level)
    height, width = pixels.shape[:2]
    u, v = s * np.float32(width) - _HALF, t * np.float32(height) - _HALF
    sampled = cv2.remap(pixels, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if texture.opaque:
        return sampled, None, None
    if texture.outlined:
        mask = cv2.remap(
            texture.mask(level), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    else:
        mask = sampled[..., 3]
    alpha = sampled[..., 3] * np.float32(1 / 255)
    return cv2.cvtColor(sampled, cv2.COLOR_BGRA2BGR), alpha, mask >= 128


def covers(
    forms: Forms,
    quads: Quads,
    index: np.ndarray,
    calibration: Calibration,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """Whether rays (x, y, 1), each (N, S), meet the outlines of quads ``index`` (N,): (N, S)."""
    x, y = x.astype(np.float32), y.astype(np.float32)
    stacked = np.concatenate([forms.edges, forms.plane], axis=1).astype(np.float32)[index]
    a, b, c = (np.moveaxis(stacked[..., i], 0, 1)[..., None] for i in range(3))
    values = a * x + (b * y + c)  # (7, N, S)
    hit: np.ndarray = (values[:4].min(axis=0) >= 0) & (values[6] > 0)
    levels = texture_levels(quads, calibration)
    for number in np.unique(index):
        texture = quads.textures[number]
        rows = np.flatnonzero(index == number)
        if texture.opaque or not hit[rows].any():
            continue
        level = levels[number]
        with np.errstate(divide='ignore', invalid='ignore'):
            z = 1 / values[6, rows]
        mask = _sample(texture, level, values[4, rows] * z, values[5, rows] * z)[2]
        hit[rows] &= True if mask is None else mask
    return hit
