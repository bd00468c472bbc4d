# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The sheen of a wet road: the street mirrored in it, blurred downward."""

from __future__ import annotations

import cv2
import numpy as np

_GRAZE = 0.12  # radians below the horizon at which the reflection has faded to a third


class WetRoad:
    """Adds reflections to the ground of one camera's pictures."""

    def __init__(self, elevation: np.ndarray, wetness: float) -> None:
        """``elevation`` (H, W) is the rays' angle over the horizon, radians."""
        height, width = elevation.shape
        middle = elevation[:, width // 2]
        horizon = float(np.interp(0.0, -middle, np.arange(height)))
        mirrored = np.clip(np.rint(2 * horizon - np.arange(height)), 0, height - 1)
        self._rows = mirrored.astype(int)
        fade = 0.15 + 0.6 * np.exp(np.minimum(elevation, 0) / _GRAZE)
        self._weight = (wetness * fade * (elevation < 0)).astype(np.float32)

    def shine(self, image: np.ndarray, ground: np.ndarray) -> np.ndarray:
        """The picture (H, W, 3) with reflections where ``ground`` (H, W) bool is seen."""
        height, width = image.shape[:2]
        small = cv2.resize(
            image[self._rows], (width // 4, height // 4), interpolation=cv2.INTER_AREA
        )
        small = cv2.GaussianBlur(small, (0, 0), sigmaX=0.8, sigmaY=height / 60)
        mirror = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        weight = self._weight * ground
        return cv2.blendLinear(image, mirror, 1 - weight, weight)
