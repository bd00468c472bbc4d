# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.drawing import birdseye
from segformer_ros.drawing.birdseye import BirdsEye, draw_map
from segformer_ros.drawing.overlay import class_color
from segformer_ros.drivable import (
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    GridNumbers,
    PlanarPose,
)
from segformer_ros.drivable.corridor import Corridor
from segformer_ros.frame import Stamp

CAR = 13
GREEN = (92, 128, 74)


@pytest.fixture(scope='module')
def class_map() -> ClassMap:
    return load_class_map('cityscapes')


@pytest.fixture(scope='module')
def seen(class_map: ClassMap) -> tuple[DrivableArea, GridNumbers]:
    """A road to the horizon, with a car in the left half from row 100 up."""
    labels = np.zeros((180, 320), np.uint8)
    labels[:60] = 10
    labels[50:100, 80:140] = CAR
    estimator = DrivableAreaEstimator(DrivableConfig(), class_map)
    area = estimator.update(
        labels, None, Calibration.pinhole(320, 180, 70.0), CameraPose(1.4, pitch=0.1)
    )
    grid = estimator.grid(area)
    assert grid is not None
    return area, grid


def has_color(picture: np.ndarray, color: tuple[int, ...]) -> np.ndarray:
    return np.asarray((np.abs(picture.astype(int) - color) <= 2).all(axis=-1))


def test_panel_shows_free_ground_ahead_and_the_blocker_left(
    class_map: ClassMap, seen: tuple[DrivableArea, GridNumbers]
) -> None:
    panel = BirdsEye(400, 300, class_map).draw(*seen)
    assert panel.shape == (400, 300, 3)
    assert panel.dtype == np.uint8
    free = has_color(panel, GREEN)
    rows, columns = np.nonzero(free)
    assert len(rows) > 500
    assert rows.min() < 300 < rows.max()  # x points up
    rows, columns = np.nonzero(has_color(panel, class_color(class_map, CAR)))
    assert len(columns) > 10
    assert columns.max() < 150  # y points left


def test_a_blocker_beyond_the_panel_leaves_no_line_in_it(
    class_map: ClassMap, seen: tuple[DrivableArea, GridNumbers]
) -> None:
    area, grid = seen
    columns = len(area.bearing)
    far = replace(
        area,
        free_distance=np.full(columns, 150.0, np.float32),
        distance_sigma=np.full(columns, 140.0, np.float32),
    )
    empty = replace(far, free_distance=np.full(columns, np.inf, np.float32))
    panel, without = (BirdsEye(400, 300, class_map).draw(one, grid) for one in (far, empty))
    np.testing.assert_array_equal(panel, without)


def test_panel_scales_a_grid_to_its_size(
    class_map: ClassMap, seen: tuple[DrivableArea, GridNumbers]
) -> None:
    small, large = (
        has_color(BirdsEye(side, side, class_map).draw(*seen), GREEN).mean() for side in (200, 400)
    )
    assert small == pytest.approx(large, rel=0.2)


def test_distances_of_the_rings_are_not_cut_off(
    class_map: ClassMap, seen: tuple[DrivableArea, GridNumbers]
) -> None:
    area, _ = seen
    deep = GridNumbers(0.2, 0.0, -12.0, np.full((120, 150), -1, np.int8))
    for width in (200, 270):
        panel = BirdsEye(360, width, class_map).draw(area, deep)
        letters = panel[25:].min(axis=-1) >= 220  # below the caption
        assert letters[:, width // 2 + 20 :].any()
        assert not letters[:, -3:].any()


@pytest.mark.parametrize(
    'area', [DrivableArea(Stamp(0, 0)), DrivableArea.invalid(Stamp(0, 0), 'the camera is silent')]
)
def test_panel_without_metres_says_so(class_map: ClassMap, area: DrivableArea) -> None:
    panel = BirdsEye(100, 300, class_map).draw(area, None)
    assert not has_color(panel, GREEN).any()
    assert (panel > 150).any()  # the words


def test_unknown_classes_have_a_name_and_a_colour(class_map: ClassMap) -> None:
    assert max(class_color(class_map, 255)) > 200
    assert max(class_color(class_map, 14)) >= 110  # truck is nearly black on the road


@pytest.mark.parametrize(
    ('distance', 'words'),
    [
        (7.0, 'corridor: 7.0 +- 0.5 m, car'),
        (80.0, 'corridor: beyond 24 m, car'),
        (math.inf, 'corridor: nothing seen'),
    ],
)
def test_the_caption_is_of_what_the_panel_shows(
    class_map: ClassMap, monkeypatch: pytest.MonkeyPatch, distance: float, words: str
) -> None:
    written = []
    monkeypatch.setattr(birdseye, 'write', lambda panel, text, *rest: written.append(text))
    area = replace(DrivableArea(Stamp(0, 0)), corridor=Corridor(2.0, distance, 0.5, CAR))
    grid = GridNumbers(0.2, 0.0, -12.0, np.full((120, 120), -1, np.int8))
    BirdsEye(360, 360, class_map).draw(area, grid)
    assert words in written


def test_the_map_stands_with_ahead_upwards(
    class_map: ClassMap, seen: tuple[DrivableArea, GridNumbers]
) -> None:
    """Road ahead, sidewalk left of it, a wall behind; the vehicle looks along the map's y."""
    place = PlanarPose(100.0, 50.0, math.pi / 2)  # ahead is +y, left is -x
    cells = np.full((200, 200), -1, np.int8)
    cells[120:180, 90:110] = 0  # 2 to 8 m ahead, 1 m to both sides
    cells[120:180, 70:90] = 40  # 1 to 3 m left
    cells[40:50, 60:140] = 100  # 5 to 6 m behind
    panel = draw_map(422, GridNumbers(0.1, 90.0, 40.0, cells), place, seen[0])
    assert panel.shape == (422, 400, 3)

    def at(x: float, y: float) -> list[int]:  # between two lines of metres
        return panel[round(200 - 20 * x), round(200 - 20 * y)].astype(int).tolist()

    road, sidewalk, wall, unknown = at(6.5, 1.5 - 1.9), at(6.5, 2.5), at(-5.5, 2.5), at(-8.5, 8.5)
    assert road[1] > road[2] > 150  # green
    assert sidewalk[2] > sidewalk[1] > sidewalk[0] + 50  # yellow
    assert max(wall) < 60
    assert max(unknown) - min(unknown) < 10
    assert 100 < min(unknown) < max(unknown) < 160
    assert at(6.5, -1.5) == unknown
    assert at(-5.5, 6.5) == unknown


def test_the_map_of_a_turned_vehicle_ends_where_it_is_not_known(
    seen: tuple[DrivableArea, GridNumbers],
) -> None:
    cells = np.zeros((100, 100), np.int8)
    place = PlanarPose(0.0, 0.0, math.pi / 4)
    panel = draw_map(222, GridNumbers(0.2, -10.0, -10.0, cells), place, seen[0])
    assert panel[55, 106].astype(int).min() > 180
    corner = panel[12, 12].astype(int)
    assert corner.max() - corner.min() < 10
    assert corner.max() < 110
