# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Segmentation: what an engine gives for one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional, Tuple

import numpy as np


class StageTimes(NamedTuple):
    """Milliseconds that one frame took in each stage (its share, where it ran in a batch)."""

    preprocess: float
    inference: float
    postprocess: float

    @property
    def total(self) -> float:
        """Sum of the stages in milliseconds."""
        return self.preprocess + self.inference + self.postprocess


class BlockedRows(NamedTuple):
    """The lowest pixel of each column of a label map that is not drivable.

    rows: (W,) int32, -1 where all pixels of a column are drivable. drivable: the train ids that
    count as such.
    """

    rows: np.ndarray
    drivable: Tuple[int, ...]


@dataclass(frozen=True)
class Segmentation:
    """Label map of one frame.

    labels: (H, W) uint8 train ids, at the frame's size or at the one asked for.
    confidence: (H, W) uint8, 0..255 for a probability of 0..1 of the label, or None where it
        was not asked for or the model gives labels alone.
    overlay: (H, W, 3) uint8 BGR, the classes' colours over the frame, at the frame's size; None
        where it was not asked for or the engine does not make it.
    blocked: where the labels' columns are blocked; None as for overlay.
    """

    labels: np.ndarray
    times: StageTimes
    confidence: Optional[np.ndarray] = None
    overlay: Optional[np.ndarray] = None
    blocked: Optional[BlockedRows] = None
