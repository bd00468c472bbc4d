# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The sky as a picture over azimuth and elevation."""

from __future__ import annotations

import cv2
import numpy as np

from tools.street.light import Light
from tools.street.texture import noise

_SIZE = 512


class Sky:
    """Colour of the sky in any direction; (512, 512) texels over elevation and azimuth."""

    def __init__(self, light: Light, seed: int) -> None:
        up = np.linspace(1, 0, _SIZE, dtype=np.float32)[:, None, None] ** 0.7
        color = np.asarray(light.zenith) * up + np.asarray(light.horizon) * (1 - up)
        color = np.broadcast_to(color, (_SIZE, _SIZE, 3)).astype(np.float32).copy()
        layers = noise(_SIZE, (5, 9, 17, 40, 90, 180), seed % 16)
        layers = np.roll(layers, seed % _SIZE, axis=1)
        flat = cv2.resize(layers[: _SIZE // 2], (_SIZE, _SIZE))  # clouds are wider than high
        cover = np.clip((flat + 2 * light.clouds - 1) * 0.8, 0, 1)[..., None]
        color += cover * (
            np.asarray(light.cloud, np.float32) * (1 + 0.12 * layers[..., None]) - color
        )
        if light.elevation < 1.15:
            color += self._glare(light)
        self.picture = light.expose(color).astype(np.uint8)

    def _glare(self, light: Light) -> np.ndarray:
        azimuth = (np.arange(_SIZE) + 0.5) / _SIZE * 2 * np.pi - np.pi
        elevation = (1 - (np.arange(_SIZE) + 0.5) / _SIZE) * np.pi / 2
        off = np.angle(np.exp(1j * (azimuth - light.azimuth)))[None] ** 2
        off = off * np.cos(light.elevation) ** 2 + (elevation - light.elevation)[:, None] ** 2
        glare: np.ndarray = (np.exp(-off / 0.02) + 0.25 * np.exp(-off / 0.3))[..., None]
        return (glare * np.asarray(light.sun)).astype(np.float32)

    def look(self, azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
        """Colour (H, W, 3) uint8 for directions in the world frame, radians, float32."""
        u = (azimuth + np.float32(np.pi)) * np.float32(_SIZE / (2 * np.pi)) - np.float32(0.5)
        v = (1 - np.maximum(elevation, 0) * np.float32(2 / np.pi)) * _SIZE - np.float32(0.5)
        np.minimum(v, _SIZE - 1, out=v)
        return cv2.remap(self.picture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
