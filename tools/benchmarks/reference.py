# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The golden reference: what every engine's numbers are held against. Slow, plain, float64."""

from __future__ import annotations

from typing import Callable

import numpy as np

from segformer_ros.engines.placement import Fit, fit_frame
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec
from segformer_ros.verification.kernel_checks import resize_bilinear


def reference_scores(
    frame: Frame, spec: ModelSpec, infer: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Scores of a frame at its own size: (C, H, W) float64.

    `infer` is the bare network on (1, h, w, 3) pixels of 0..255 in BGR order, rounded to whole
    numbers as the uint8 input has them, and gives (C, h', w').
    """
    fit = fit_frame((frame.height, frame.width), spec.size, spec.fit, spec.stride)
    pixels = np.zeros((*fit.network, 3))
    content = np.moveaxis(
        resize_bilinear(np.moveaxis(frame.bgr().astype(np.float64), -1, 0), fit.content), 0, -1
    )
    pixels[: fit.content[0], : fit.content[1]] = np.floor(content + 0.5)
    scores = infer(pixels[None].astype(np.uint8))
    return resize_bilinear(_crop(scores, fit), (frame.height, frame.width))


def _crop(scores: np.ndarray, fit: Fit) -> np.ndarray:
    """The frame's part of the scores; whole cells, since a letterbox ends on them."""
    rows = scores.shape[1] * fit.content[0] // fit.network[0]
    columns = scores.shape[2] * fit.content[1] // fit.network[1]
    return scores[:, :rows, :columns]
