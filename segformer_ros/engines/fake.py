# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The fake engine: a real engine with a known answer, for trying and testing without a model."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter, sleep
from typing import Dict, Optional, Tuple

import cv2
import numpy as np

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.engines.cpu import SLOTS, CpuEngine
from segformer_ros.engines.engine import EngineOptions
from segformer_ros.model import STRIDE, ModelSpec


def fake_spec(
    size: Tuple[int, int] = (128, 256), class_map: Optional[ClassMap] = None
) -> ModelSpec:
    """The specification of the fake engine's network, at an input size of multiples of 4."""
    return ModelSpec(
        path=Path('fake'),
        contract='fake',
        class_map=class_map or load_class_map('cityscapes'),
        size=size,
    )


def color_logits(pixels: np.ndarray, palette_bgr: np.ndarray) -> np.ndarray:
    """Logits by likeness to each class's colour: (C, h/4, w/4) float32.

    pixels: (h, w, 3) uint8 BGR; palette_bgr: (C, 3). A logit is minus the squared distance
    between the mean colour of a 4x4 block and the class's colour, over 1000, less that of the
    nearest class: where one class is the nearest of all neighbours no other can win between them.
    """
    height, width = pixels.shape[0] // STRIDE, pixels.shape[1] // STRIDE
    blocks = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    palette = palette_bgr.astype(np.float32)
    # -|block - color|^2 without |block|^2, which all classes share. All of it is whole numbers
    # below 2**24, which float32 holds exactly.
    likeness = 2 * palette @ blocks.reshape(-1, 3).T.astype(np.float32)  # (C, h/4 * w/4)
    likeness -= (palette**2).sum(axis=1)[:, None]
    likeness -= likeness.max(axis=0)
    likeness /= 1000.0
    return likeness.reshape(len(palette), height, width)


class FakeEngine(CpuEngine):
    """Labels each pixel by the class whose colour is nearest.

    An image painted in the class map's colours comes back as the labels it was painted from.
    All of its time goes into the labels, which are cheap where only one class can win.
    `EngineOptions.fake_delay` makes it as slow as wanted.
    """

    name = 'fake'
    precisions = ('auto', 'fp32')
    _palette: Optional[np.ndarray] = None

    def __init__(self, spec: ModelSpec, options: EngineOptions = EngineOptions()) -> None:
        super().__init__(spec, options)
        self._due = [0.0] * SLOTS
        """When the network of each slot has slept for its delay, by `perf_counter`."""

    def activate(self) -> None:
        """Take the class map's colours."""
        self._palette = self.spec.class_map.palette_bgr[: len(self.spec.class_map)]
        self.active = True

    def deactivate(self) -> None:
        """Forget the colours."""
        super().deactivate()
        self._palette = None

    def facts(self) -> Dict[str, str]:
        """Name and delay."""
        return {
            'engine': self.name,
            'device': 'CPU',
            'precision': 'fp32',
            'delay': f'{self.options.fake_delay:g} s',
        }

    def _begin(self, slot: int) -> None:
        self._due[slot] = max(perf_counter(), *self._due) + self.options.fake_delay

    def _end(self, slot: int) -> Tuple[np.ndarray, float]:
        sleep(max(0.0, self._due[slot] - perf_counter()))
        start = perf_counter()
        assert self._palette is not None
        result = color_logits(self._inputs[slot][0], self._palette)
        return result, self._due[slot] + perf_counter() - start
