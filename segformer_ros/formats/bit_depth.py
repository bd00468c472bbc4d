"""Images of 16 bits a channel as 8 bits, by how many of their bits hold the picture.

Sensors of 10 or 12 bits are published in 16, most often in the low ones. Nothing in the message
says so, and the picture is nearly black where it is not known.
"""

from __future__ import annotations

from typing import Callable, Iterable, Optional

import numpy as np

from segformer_ros.formats.limits import FrameError

BITS = (8, 10, 12, 14, 16)
"""Of sensors."""


def bits_of(largest: int) -> int:
    """The least number of bits that a sensor with such a value has."""
    return next(bits for bits in BITS if largest >> bits == 0)


class BitDepth:
    """How many low bits of 16 hold the pictures of one camera.

    bits: one of BITS; 0 to find them by the images, as soon as they come and ever more of them.
    say: told of what was found.
    """

    def __init__(self, bits: int = 0, say: Optional[Callable[[str], object]] = None) -> None:
        self.bits = bits
        self._finds = bits == 0
        self._say = say

    @classmethod
    def of_samples(cls, samples: Iterable[np.ndarray]) -> BitDepth:
        """That of a recording by some of its images, each (H, W[, C]) uint16."""
        return cls(bits_of(max((int(pixels.max()) for pixels in samples), default=0xFFFF)))

    def reduced(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (H, W[, C]) uint16 as uint8; raises FrameError where they do not fit."""
        largest = int(pixels.max())
        if largest >> self.bits:
            self._exceeded(largest)
        return (pixels >> (self.bits - 8)).astype(np.uint8)

    def _exceeded(self, largest: int) -> None:
        if not self._finds:
            raise FrameError(
                f'it has values up to {largest}, which the {self.bits} bits that the camera is '
                f'taken to have cannot hold: give {bits_of(largest)} bits'
            )
        self.bits = bits_of(largest)
        if self._say and self.bits < BITS[-1]:
            self._say(deep_note(self.bits, largest))


def deep_note(bits: int, largest: int) -> str:
    """What was found of images of 16 bits, for the user's eyes."""
    return (
        f'images of 16 bits with values up to {largest} are taken to hold {bits}, and are scaled '
        'by that'
    )


FULL = BitDepth(16)
"""All 16 bits count."""
