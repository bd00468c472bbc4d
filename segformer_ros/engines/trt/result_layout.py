# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Results of a batch in one block of memory: what is wanted of each frame, and where it lies."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.engines.cuda.launches import FrameOutput, Image
from segformer_ros.engines.cuda.memory import Lease, aligned
from segformer_ros.engines.engine import Wanted
from segformer_ros.engines.placement import Fit
from segformer_ros.frame import Frame
from segformer_ros.segmentation import BlockedRows, Segmentation, StageTimes

_ROW = np.dtype(np.int32)


class Place(NamedTuple):
    """Where one frame's results lie: offsets in bytes, 0 for what is not made; size in pixels."""

    height: int
    width: int
    labels: int
    confidence: int
    overlay: int
    blocked: int
    drivable: Tuple[int, ...]

    def output(
        self, address: int, fit: Fit, image: Image, frame: Optional[Tuple[int, int]] = None
    ) -> FrameOutput:
        """What the kernels are to write into a block at an address; `frame` as in FrameOutput."""
        return FrameOutput(
            self.height,
            self.width,
            fit,
            address + self.labels,
            address + self.confidence if self.confidence else 0,
            address + self.overlay if self.overlay else 0,
            address + self.blocked if self.blocked else 0,
            image if self.overlay else None,
            frame,
        )

    def read(self, lease: Lease, times: StageTimes) -> Segmentation:
        """The results, once the kernels have written them."""
        size = (self.height, self.width)
        return Segmentation(
            lease.array(self.labels, size),
            times,
            lease.array(self.confidence, size) if self.confidence else None,
            lease.array(self.overlay, (*size, 3)) if self.overlay else None,
            self._read_blocked(lease) if self.blocked else None,
        )

    def _read_blocked(self, lease: Lease) -> BlockedRows:
        rows = lease.array(self.blocked, (self.width * _ROW.itemsize,)).view(_ROW)
        return BlockedRows(rows, self.drivable)


def lay_out(
    frames: Sequence[Frame], wanted: Wanted, has_confidence: bool
) -> Tuple[List[Place], int]:
    """Places of a batch's results, and the bytes of the block that holds them.

    has_confidence: whether the network gives any. An overlay is made at the frame's own size.
    """
    places: List[Place] = []
    end = 0
    for frame in frames:
        own = (frame.height, frame.width)
        height, width = wanted.size or own
        parts = (
            height * width,
            height * width if wanted.confidence and has_confidence else 0,
            3 * height * width if wanted.overlay is not None and (height, width) == own else 0,
            _ROW.itemsize * width if wanted.drivable else 0,
        )
        starts = []
        for size in parts:
            starts.append(end if size else 0)
            end += aligned(size)
        labels, confidence, overlay, blocked = starts
        places.append(Place(height, width, labels, confidence, overlay, blocked, wanted.drivable))
    return places, end
