# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What lens and sensor add to a clean picture: blur, vignette, noise, grey balance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Tuple

import cv2
import numpy as np

_SLACK = 64  # pixels by which the kept noise is larger than an image


@dataclass(frozen=True)
class Lens:
    """Strengths of the flaws of one camera."""

    blur: float = 0.5  # Gaussian sigma, pixels
    vignette: float = 0.2  # light lost in the corners, 0..1
    noise: float = 2.0  # standard deviation, grey levels
    balance: Tuple[float, float, float] = (1.0, 1.0, 1.0)  # gain of B, G, R
    saturation: float = 1.0

    def record(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The picture (H, W, 3) uint8 as the sensor gives it."""
        if self.saturation != 1.0 or self.balance != (1.0, 1.0, 1.0):
            image = cv2.transform(image, self._color_matrix())
        if self.blur > 0.2:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        if self.vignette > 0.02:
            fall = _falloff(image.shape[0], image.shape[1], round(self.vignette, 2))
            image = cv2.multiply(image, fall, scale=1 / 255)
        if self.noise > 0:
            image = self._grain(image, rng)
        return image

    def _color_matrix(self) -> np.ndarray:
        luma = np.array([0.114, 0.587, 0.299])
        mix = np.eye(3) * self.saturation + (1 - self.saturation) * luma[None]
        return np.asarray(np.diag(self.balance) @ mix).astype(np.float32)

    def _grain(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[:2]
        field = _noise_field(height + _SLACK, width + _SLACK)
        row, col = (int(offset) for offset in rng.integers(_SLACK, size=2))
        noise = field[row : row + height, col : col + width]
        return cv2.addWeighted(image, 1.0, noise, self.noise / 16, -128.0 * self.noise / 16)


@lru_cache(maxsize=8)
def _falloff(height: int, width: int, strength: float) -> np.ndarray:
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    fall = 1 - strength * (u**2 + v**2) / 2
    return np.repeat((fall * 255).astype(np.uint8)[..., None], 3, axis=2)


@lru_cache(maxsize=2)
def _noise_field(height: int, width: int) -> np.ndarray:
    """Noise about 128 with deviation 16, (height, width, 3) uint8."""
    rng = np.random.default_rng(17)
    noise = rng.normal(128, 16, (height, width, 3))
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)
