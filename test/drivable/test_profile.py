from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.drivable.profile import (
    ROW_NONE,
    ColumnProfile,
    IdSet,
    first_blocked_rows,
)


@pytest.mark.parametrize('ids', [(0,), (0, 1), (0, 1, 9), (3, 4, 200), (255,)])
def test_id_set_equals_membership(ids: tuple[int, ...]) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(IdSet(ids).excludes(labels), ~np.isin(labels, ids))


def test_id_set_needs_ids() -> None:
    with pytest.raises(ValueError, match='needs one at least'):
        IdSet(())


@pytest.mark.parametrize('height', [1, 127, 128, 129, 300])
def test_first_blocked_rows_equals_a_walk_up_each_column(height: int) -> None:
    rng = np.random.default_rng(height)
    labels = (rng.random((height, 40)) < 0.02).astype(np.uint8)
    starts = rng.integers(height // 2, height, 40).astype(np.int32)
    expected = []
    for column, start in enumerate(starts):
        row = int(start)
        while row >= 0 and labels[row, column] == 0:
            row -= 1
        expected.append(row)
    found = first_blocked_rows(labels, IdSet((0,)), starts)
    assert found.dtype == np.int32
    assert found.tolist() == expected
    assert ROW_NONE == -1  # what the walk ends at above the image


@pytest.mark.parametrize(
    ('width', 'strips'),
    [(1, 1), (480, 480), (640, 640), (1279, 1279), (1280, 640), (1920, 640), (2000, 666)],
)
def test_strips_of_wide_images_keep_their_nearest_blocker(width: int, strips: int) -> None:
    rng = np.random.default_rng(width)
    rows = rng.integers(-1, 100, width).astype(np.int32)
    classes = rng.integers(0, 19, width).astype(np.uint8)
    starts = np.full(width, 99, np.int32)
    profile = ColumnProfile.of_pixels(100, rows, starts, classes, np.zeros(width, np.float32))
    assert (profile.height, profile.width) == (100, width)
    assert len(profile.columns) == len(profile.rows) == len(profile.starts) == strips
    assert np.array_equal(profile.rows, rows[profile.columns])
    assert np.array_equal(profile.classes, classes[profile.columns])
    edges = np.round(np.linspace(0, width, strips + 1)).astype(int)
    assert np.array_equal(profile.rows, np.maximum.reduceat(rows, edges[:-1]))
    assert (profile.columns >= edges[:-1]).all()
    assert (profile.columns < edges[1:]).all()
