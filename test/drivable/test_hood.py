from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.drivable import DrivableError, Hood


def test_no_hood_starts_at_the_bottom_row() -> None:
    assert Hood().starts(10, 4).tolist() == [9, 9, 9, 9]


def test_rows_polygon_and_mask_add_up() -> None:
    mask = np.zeros((2, 4), np.uint8)
    mask[1, 3] = 1  # the right quarter, from half of the height down
    hood = Hood(rows=0.1, polygon=((0.0, 1.0), (0.0, 0.7), (0.2, 0.7), (0.2, 1.0)), mask=mask)
    starts = hood.starts(100, 40)
    assert starts[0] == pytest.approx(69, abs=1)
    assert starts[20] == 89
    assert starts[39] == 49
    assert starts.dtype == np.int32


def test_ignored_pixels_further_up_are_not_looked_past() -> None:
    mask = np.zeros((10, 1), np.uint8)
    mask[2:5] = 1
    assert Hood(mask=mask).starts(10, 1).tolist() == [9]


def test_column_that_is_all_hood_has_no_start() -> None:
    mask = np.array([[1, 0]], np.uint8)
    assert Hood(mask=mask).starts(6, 2).tolist() == [-1, 5]


@pytest.mark.parametrize(
    ('hood', 'words'),
    [
        ({'rows': 1.0}, 'hood rows 1.0 is outside 0..1'),
        ({'polygon': ((0.0, 0.0), (1.0, 1.0))}, '2 corners: give 3 or more'),
        ({'polygon': ((0.0, 0.0), (1.0, 1.0), (0.0, 700.0))}, 'is not a .u, v. within 0..1'),
        ({'mask': np.zeros((2, 2, 3))}, 'give one grey image'),
    ],
)
def test_impossible_hoods_are_refused(hood: dict[str, object], words: str) -> None:
    with pytest.raises(DrivableError, match=words):
        Hood(**hood)  # type: ignore[arg-type]
