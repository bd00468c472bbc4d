# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A street small enough to reason about: label maps ray-cast from a plane and boxes on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from segformer_ros.camera import Calibration, CameraPose

ROAD, SIDEWALK, BUILDING, POLE, TERRAIN, SKY, PERSON, CAR = 0, 1, 2, 5, 9, 10, 11, 13


@dataclass
class World:
    """A road of `width` m along x between sidewalks, with upright panels that face the camera.

    panels: (x, y from, y to, height, class id) each, in the vehicle frame.
    """

    calibration: Calibration
    pose: CameraPose
    width: float = 8.0
    panels: list[tuple[float, float, float, float, int]] = field(default_factory=list)

    def labels(self) -> np.ndarray:
        """Label map (H, W) uint8, exact at pixel centres."""
        rays = self.calibration.rays() @ self.pose.rotation().T
        position = self.pose.position
        labels = np.full(rays.shape[:2], SKY, np.uint8)
        with np.errstate(divide='ignore', invalid='ignore'):
            reach = -position[2] / rays[..., 2]
            y = position[1] + reach * rays[..., 1]
            labels[(reach > 0) & (np.abs(y) > self.width / 2)] = SIDEWALK
            labels[(reach > 0) & (np.abs(y) <= self.width / 2)] = ROAD
            for x, right, left, height, class_id in sorted(self.panels, reverse=True):
                reach = (x - position[0]) / rays[..., 0]
                y = position[1] + reach * rays[..., 1]
                z = position[2] + reach * rays[..., 2]
                hit = (reach > 0) & (y >= right) & (y <= left) & (z >= 0) & (z <= height)
                labels[hit] = class_id
        return labels
