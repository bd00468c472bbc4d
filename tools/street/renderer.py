# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""From a scene at a moment to an image with exact labels, instances and depth."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.camera import Calibration, CameraPose
from tools.street import labels
from tools.street.batch import Batch, turned
from tools.street.groundview import GroundView, Place, to_world
from tools.street.props import Prop
from tools.street.raster import Canvas, Forms, Quads, View, facing
from tools.street.scene import Scene
from tools.street.shadows import cast, draw_ground_outlines, grown
from tools.street.sky import Sky
from tools.street.texture import Texture
from tools.street.wet import WetRoad

_NEAR = 0.1  # metres ahead of the camera
_DETAIL_REACH = 45.0  # metres: vehicles further away are drawn with fewer faces
_SHADOW_REACH = 45.0  # metres: shadows of single things further away are not drawn
_FOOT_DIMNESS = 110  # sunlit share (of 255) around the foot of things


class Picture(NamedTuple):
    """A rendered frame and what the truth needs to know about it."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    labels: np.ndarray  # (H, W) uint8
    instances: np.ndarray  # (H, W) uint16
    depth: np.ndarray  # (H, W) float32
    surface: np.ndarray  # (H, W) int32: index into quads, -1 for ground and sky
    quads: Quads
    forms: Forms


class Renderer:
    """Draws one scene for one camera; what depends on neither time nor place is kept."""

    def __init__(self, scene: Scene, calibration: Calibration, pose: CameraPose) -> None:
        self.scene = scene
        self.pose = pose
        self.view = View(calibration)
        self.rotation = pose.rotation()
        self.sky = Sky(scene.light, scene.plan.seed)
        rays = self.view.rays @ self.rotation.T  # vehicle frame
        self._blind = np.isnan(rays[..., 0])
        self.ground = GroundView(rays, pose, scene.painter, scene.light)
        rays = np.nan_to_num(rays)
        above = np.flatnonzero(~self.ground.below.all(axis=1))
        self._sky_rows = slice(0, int(above[-1]) + 1 if len(above) else 0)
        x, y, z = (rays[self._sky_rows, :, axis] for axis in range(3))
        level = np.hypot(rays[..., 0], rays[..., 1])
        self._wet = (
            WetRoad(np.arctan2(rays[..., 2], level), scene.light.wet) if scene.light.wet else None
        )
        self._azimuth = np.arctan2(y, x).astype(np.float32)
        self._elevation = np.arctan2(z, np.hypot(x, y)).astype(np.float32)

    def render(self, t: float) -> Picture:
        """The frame at time t, before the lens and the sensor."""
        place, moment = self.scene.ego.place(t), self.scene.at(t)
        label = np.full(self.ground.depth.shape, labels.SKY, np.uint8)
        image = np.empty(label.shape + (3,), np.uint8)
        if self._azimuth.size:
            image[self._sky_rows] = self.sky.look(
                self._azimuth + np.float32(place[2]), self._elevation
            )
        self.ground.draw(image, label, place, self._shadow(moment.props, place))
        canvas = Canvas(self.view, image, self.ground.depth.copy())
        quads, kinds, numbers = self._quads(moment.batches, place)
        forms = canvas.draw(quads)
        index = canvas.surface
        kinds, numbers = np.append(kinds, 0), np.append(numbers, 0)
        label = np.where(index >= 0, kinds[index].astype(np.uint8), label)
        label[self._blind] = 255
        image = canvas.image
        if self._wet is not None:
            image = self._wet.shine(image, (index < 0) & self.ground.below)
        image = self._haze(image, canvas.depth)
        return Picture(
            image, label, numbers[index].astype(np.uint16), canvas.depth, index, quads, forms
        )

    def _quads(
        self,
        batches: Sequence[Batch],
        place: Place,
    ) -> Tuple[Quads, np.ndarray, np.ndarray]:
        """Front faces in drawing order in the optical frame, their labels and instances."""
        camera = self._camera(place)
        looks = [batch.faces for batch in batches] + [batch.sprites for batch in batches]
        counts = np.cumsum([0] + [len(batch.corners) for batch in batches])
        things = np.cumsum([0] + [batch.things for batch in batches])[:-1]
        owner = np.concatenate(
            [look.owners + start for look, start in zip(looks, np.tile(things, 2), strict=False)]
        )
        sprites = [turned(batch, camera) for batch in batches]
        corners = np.concatenate([batch.corners for batch in batches] + sprites)
        frames = np.concatenate(
            [batch.frames for batch in batches] + [sprite[:, [0, 1, 3]] for sprite in sprites]
        )
        links = np.full((len(corners), 4), -1)
        for batch, start in zip(batches, counts, strict=False):
            links[start : start + len(batch.links)] = np.where(
                batch.links >= 0, batch.links + start, -1
            )
        optical = self._optical(corners, place)
        distance = np.linalg.norm(optical.mean(axis=1), axis=1)
        mean = np.bincount(owner, distance) / np.maximum(np.bincount(owner), 1)
        whole = mean[owner] if len(owner) else distance  # of the thing it belongs to
        detail = np.concatenate([look.detail for look in looks])
        front = facing(optical) & (optical[..., 2].max(axis=1) > _NEAR)
        front &= (detail == 0) | ((detail > 0) == (whole < _DETAIL_REACH))
        inner = (links >= 0) & front[links]
        # Backdrops first, then far to near, whole things together.
        backdrop = np.concatenate([look.backdrop for look in looks])
        order = np.lexsort((-distance, owner, -whole, ~backdrop))
        order = order[front[order]]
        textures: List[Texture] = [texture for look in looks for texture in look.textures]
        tones = [tone for look in looks for tone in look.tones]
        kinds = np.concatenate([look.labels for look in looks])
        numbers = np.concatenate([look.instances for look in looks])
        quads = Quads(
            optical[order],
            self._optical(frames[order], place),
            [textures[i] for i in order],
            [tones[i] for i in order],
            inner[order],
        )
        return quads, kinds[order], numbers[order]

    def _camera(self, place: Place) -> np.ndarray:
        return np.append(to_world(self.pose.position[:2], place), self.pose.height)

    def _optical(self, corners: np.ndarray, place: Place) -> np.ndarray:
        """World points (..., 3) in the optical frame."""
        optical: np.ndarray = (corners - self._camera(place)) @ self._from_world(place).T
        return optical

    def _from_world(self, place: Place) -> np.ndarray:
        """Rotation optical_from_world, (3, 3)."""
        c, s = np.cos(place[2]), np.sin(place[2])
        rotation: np.ndarray = self.rotation.T @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        return rotation

    def _shadow(self, props: Sequence[Prop], place: Place) -> np.ndarray:
        """What single things leave of the sun on the ground: (h, W) uint8 over the ground rows."""
        rows = self.ground.rows
        mask = np.full((rows.stop - rows.start, self.view.calibration.width), 255, np.uint8)
        if not mask.size:
            return mask
        camera, rotation = self._camera(place), self._from_world(place)
        light = self.scene.light
        feet, casts = [], []
        for prop in props:
            away = np.hypot(prop.x - camera[0], prop.y - camera[1])
            if not prop.backdrop and away < _SHADOW_REACH:
                for outline in prop.footprints:
                    near = outline - camera[:2]
                    feet.append(grown(near, 0.25))
                    if light.casts and not prop.still:
                        casts.append(cast(near, prop.shadow, light.direction))
        for outlines, value in ((feet, _FOOT_DIMNESS), (casts, 0)):
            draw_ground_outlines(
                mask,
                outlines,
                value,
                rotation,
                self.pose.height,
                self.view.calibration,
                rows.start,
            )
        return cv2.GaussianBlur(mask, (0, 0), 1.2)

    def _haze(self, image: np.ndarray, depth: np.ndarray) -> np.ndarray:
        light = self.scene.light
        color = light.expose(np.asarray(light.horizon) * 0.95).astype(np.uint8)
        clear = np.exp(depth * np.float32(-light.fog))
        clear[np.isinf(depth)] = light.clear_sky
        veil = np.empty_like(image)
        veil[:] = color
        return cv2.blendLinear(image, veil, clear, 1 - clear)
