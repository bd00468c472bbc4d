"""Images of 16 bits as 8."""

from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.formats.bit_depth import BitDepth, bits_of
from segformer_ros.formats.limits import FrameError


@pytest.mark.parametrize(
    ('largest', 'bits'),
    [(0, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (9000, 14), (65535, 16)],
)
def test_the_bits_are_the_fewest_of_a_sensor(largest: int, bits: int) -> None:
    assert bits_of(largest) == bits


def test_the_values_are_scaled_by_the_bits() -> None:
    values = np.array([[0, 512, 1023]], np.uint16)
    assert BitDepth(10).reduced(values).tolist() == [[0, 128, 255]]
    assert BitDepth(16).reduced(values).tolist() == [[0, 2, 3]]


def test_given_bits_refuse_what_they_do_not_hold() -> None:
    with pytest.raises(FrameError, match='up to 1024, which the 10 bits .* give 12 bits'):
        BitDepth(10).reduced(np.array([[1024]], np.uint16))


def test_found_bits_grow_and_never_shrink() -> None:
    said: list[str] = []
    depth = BitDepth(say=said.append)
    for largest, bits in ((1000, 10), (3000, 12), (100, 12)):
        depth.reduced(np.array([[largest]], np.uint16))
        assert depth.bits == bits
    assert len(said) == 2 and 'up to 1000 are taken to hold 10' in said[0]
