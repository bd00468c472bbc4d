"""Hood: the part of the image that shows the vehicle itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import cv2
import numpy as np

from segformer_ros.drivable.errors import DrivableError


@dataclass(frozen=True)
class Hood:
    """Which pixels at the image's bottom are ignored; all three parts add up.

    rows: share of the image's height at the bottom, 0..1.
    polygon: corners (u, v) as shares of the image's width and height, 0..1; empty or 3 or more.
    mask: (h, w) uint8 of any size (stretched to the image's), not 0 = covered.

    Per column everything from the bottom up to the first pixel outside is ignored. Covered pixels
    further up are not: what is hidden there is not free.
    """

    rows: float = 0.0
    polygon: Tuple[Tuple[float, float], ...] = ()
    mask: Optional[np.ndarray] = None

    def __post_init__(self) -> None:
        if not 0 <= self.rows < 1:
            raise DrivableError(
                f'hood rows {self.rows} is outside 0..1: it is the share of the '
                "image's height that the hood covers"
            )
        if self.polygon and len(self.polygon) < 3:
            raise DrivableError(
                f'hood polygon has {len(self.polygon)} corners: give 3 or more, or none'
            )
        for corner in self.polygon:
            if len(corner) != 2 or not all(0 <= value <= 1 for value in corner):
                raise DrivableError(
                    f'hood polygon corner {corner} is not a (u, v) within 0..1: '
                    "corners are shares of the image's width and height"
                )
        if self.mask is not None and (self.mask.ndim != 2 or self.mask.size == 0):
            raise DrivableError(f'hood mask has shape {self.mask.shape}: give one grey image')

    @property
    def empty(self) -> bool:
        """Whether nothing is ignored."""
        return self.rows == 0 and not self.polygon and self.mask is None

    def starts(self, height: int, width: int) -> np.ndarray:
        """Lowest row outside the hood in each column: (width,) int32, -1 where all is hood."""
        covered = np.zeros((height, width), np.uint8)
        if self.rows > 0:
            covered[height - round(self.rows * height) :] = 1
        if self.polygon:
            corners = np.array(self.polygon) * (width, height) - 0.5
            cv2.fillPoly(covered, [np.round(corners).astype(np.int32)], 1)
        if self.mask is not None:
            mask = (self.mask != 0).astype(np.uint8)
            covered |= cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        from_bottom = (covered[::-1] == 0).argmax(axis=0)
        starts = np.where(covered.all(axis=0), -1, height - 1 - from_bottom)
        return starts.astype(np.int32)
