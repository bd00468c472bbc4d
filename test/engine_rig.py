# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frames for an engine under test, and how far its masks agree with the CPU's."""

from __future__ import annotations

import numpy as np

from segformer_ros.engines import Engine, EngineOptions, create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec
from tiny_models import painting

SIZE = (64, 128)
"""Of the tests' network: (height, width)."""


def frame(seed: int = 0, size: tuple[int, int] = (90, 160)) -> Frame:
    """A painted frame of `size` (height, width)."""
    return Frame.from_array(painting(*size, seed=seed)[0])


def _on_cpu(spec: ModelSpec, inference: str, frames: list[Frame]) -> list[np.ndarray]:
    with create_engine(spec, 'openvino', EngineOptions(inference=inference)) as engine:
        return [result.labels for result in engine.segment(frames)]


def agreement(engine: Engine, frames: list[Frame]) -> float:
    """Share of equal labels, the least of all frames, between the engine and the CPU's."""
    wanted = _on_cpu(engine.spec, engine.options.inference, frames)
    results = engine.segment(frames)
    return min(
        float((result.labels == labels).mean())
        for result, labels in zip(results, wanted, strict=True)
    )
