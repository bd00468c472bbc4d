# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drivable_world import CAR, World

from segformer_ros.classes import ClassMap
from segformer_ros.drivable import DrivableAreaEstimator, DrivableConfig, DrivableError
from segformer_ros.drivable.grid import FREE, OCCUPIED
from segformer_ros.drivable.profile import (
    ROW_NONE,
    BlockerHold,
    ColumnProfile,
    IdSet,
    first_blocked_rows,
    nearest_in_spans,
)
from segformer_ros.frame import Stamp

SECOND = 1_000_000_000


@pytest.mark.parametrize('ids', [(0,), (0, 1), (0, 1, 9), (3, 4, 200), (255,)])
def test_id_set_equals_membership(ids: tuple[int, ...]) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(IdSet(ids).excludes(labels), ~np.isin(labels, ids))


def test_id_set_needs_ids() -> None:
    with pytest.raises(ValueError, match='needs at least one'):
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
    profile = ColumnProfile.of_pixels(100, rows, 99, classes, np.zeros(width, np.float32))
    assert (profile.height, profile.width) == (100, width)
    assert len(profile.columns) == len(profile.rows) == strips
    assert np.array_equal(profile.rows, rows[profile.columns])
    assert np.array_equal(profile.classes, classes[profile.columns])
    edges = np.round(np.linspace(0, width, strips + 1)).astype(int)
    assert np.array_equal(profile.rows, np.maximum.reduceat(rows, edges[:-1]))
    assert (profile.columns >= edges[:-1]).all()
    assert (profile.columns < edges[1:]).all()


def test_nearest_in_spans_takes_the_smallest_and_of_equals_the_middle_one() -> None:
    distances = np.array([5.0, 5, 5, 9, 2, 7, np.inf, np.inf, np.inf])
    assert nearest_in_spans(distances, 3).tolist() == [1, 4, 7]


def test_nearest_in_spans_of_uneven_spans_covers_all_columns() -> None:
    width, columns = 101, 7
    for low in range(width):
        distances = np.ones(width)
        distances[low] = 0.5
        assert low in nearest_in_spans(distances, columns).tolist()
    assert len(nearest_in_spans(np.ones(5), 128)) == 5


def test_of_columns_that_see_nothing_the_middle_one_stands_for_a_span() -> None:
    far, equal = (nearest_in_spans(np.full(1280, value), 128) for value in (np.inf, 5.0))
    assert far.tolist() == equal.tolist()


def profile(rows: list[int], class_id: int = 13, height: int = 100) -> ColumnProfile:
    count = len(rows)
    return ColumnProfile(
        height,
        count,
        np.arange(count, dtype=np.int32),
        np.array(rows, np.int32),
        height - 1,
        np.full(count, class_id, np.uint8),
        np.zeros(count, np.float32),
    )


def test_switched_off_it_changes_nothing() -> None:
    frame = profile([5, 6])
    assert BlockerHold(0.0).update(0, frame) is frame


def test_blocker_is_held_for_its_time_and_then_let_go() -> None:
    hold = BlockerHold(0.5)
    hold.update(0, profile([50, 20], class_id=11))
    flicker = hold.update(SECOND // 10, profile([ROW_NONE, 30], class_id=13))
    assert flicker.rows.tolist() == [50, 30]
    assert flicker.classes.tolist() == [11, 13]
    later = hold.update(SECOND, profile([ROW_NONE, 30]))
    assert later.rows.tolist() == [ROW_NONE, 30]


def test_never_freer_than_the_newest_frame() -> None:
    rng = np.random.default_rng(1)
    hold = BlockerHold(0.3)
    for frame in range(50):
        rows = rng.integers(-1, 100, 40).tolist()
        smoothed = hold.update(frame * SECOND // 10, profile(rows))
        assert (smoothed.rows >= np.array(rows)).all()


@pytest.mark.parametrize(
    ('stamp', 'second'),
    [(SECOND, profile([10], height=60)), (0, profile([10])), (-SECOND, profile([10]))],
)
def test_another_size_or_no_step_in_time_starts_anew(stamp: int, second: ColumnProfile) -> None:
    hold = BlockerHold(5.0)
    hold.update(0, profile([50]))
    assert hold.update(stamp, second).rows.tolist() == [10]


@pytest.mark.parametrize('seconds', [-0.1, 11.0, float('nan')])
def test_impossible_times_are_refused(seconds: float) -> None:
    with pytest.raises(DrivableError, match=f'hold={seconds} s is outside 0..10'):
        BlockerHold(seconds)


def test_held_area_frees_no_column_and_no_cell(world: World, class_map: ClassMap) -> None:
    """Blockers that come, move and go: in metres, too, the held area is never freer."""
    plain, held = (
        DrivableAreaEstimator(DrivableConfig(hold=seconds), class_map) for seconds in (0.0, 0.5)
    )
    rng = np.random.default_rng(3)
    longer = 0
    for frame in range(25):
        world.panels = [
            (x, y, y + 1.0, 1.5, CAR)
            for x, y in rng.uniform((5, -3), (20, 3), (rng.integers(0, 4), 2)).tolist()
        ]
        areas = [
            maker.update(
                world.labels(),
                None,
                world.calibration,
                world.pose,
                Stamp.from_ns(frame * SECOND // 10),
            )
            for maker in (plain, held)
        ]
        now, kept = (area.free_distance for area in areas)
        assert (kept <= now).all()
        longer += int(np.count_nonzero(kept < now))
        assert areas[1].corridor.distance <= areas[0].corridor.distance
        grids = plain.grid(areas[0]), held.grid(areas[1])
        assert grids[0] is not None
        assert grids[1] is not None
        freed = grids[1].cells == FREE
        assert not (grids[0].cells[freed] == OCCUPIED).any()
        # Outlines are drawn in cells: beside one they may differ by a cell.
        around = cv2.dilate((grids[0].cells == FREE).astype(np.uint8), np.ones((3, 3), np.uint8))
        assert around[freed].all()
    assert longer > 200
