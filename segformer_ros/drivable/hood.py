"""Hood: the part of the image that shows the vehicle itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segformer_ros.drivable.errors import DrivableError


@dataclass(frozen=True)
class Hood:
    """Which pixels at the image's bottom are ignored.

    rows: share of the image's height, 0..1.
    """

    rows: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.rows < 1:
            raise DrivableError(
                f'hood rows {self.rows} is outside 0..1: it is the share of the '
                "image's height that the hood covers"
            )

    @property
    def empty(self) -> bool:
        """Whether nothing is ignored."""
        return self.rows == 0

    def starts(self, height: int, width: int) -> np.ndarray:
        """Lowest row outside the hood in each column: (width,) int32, -1 where all is hood."""
        return np.full(width, height - 1 - round(self.rows * height), np.int32)
