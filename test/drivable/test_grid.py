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

import numpy as np
import pytest
from drivable_world import CAR, SKY, World

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    BoundaryConfig,
    DrivableAreaEstimator,
    DrivableConfig,
    DrivableError,
    GridConfig,
    GridNumbers,
)
from segformer_ros.drivable.grid import FREE, OCCUPIED, UNKNOWN

_PLAIN = BoundaryConfig()


def grid_of(
    world: World,
    class_map: ClassMap,
    labels: np.ndarray | None = None,
    boundary: BoundaryConfig = _PLAIN,
    **grid: float,
) -> GridNumbers:
    config = DrivableConfig(boundary=boundary, grid=GridConfig(**grid))
    estimator = DrivableAreaEstimator(config, class_map)
    area = estimator.update(
        world.labels() if labels is None else labels, None, world.calibration, world.pose
    )
    numbers = estimator.grid(area)
    assert numbers is not None
    return numbers


def cell(grid: GridNumbers, x: float, y: float) -> int:
    ix = math.floor((x - grid.origin_x) / grid.resolution)
    iy = math.floor((y - grid.origin_y) / grid.resolution)
    return int(grid.cells[iy, ix])


def middles(grid: GridNumbers, value: int) -> np.ndarray:
    """Middles (n, 2) of the cells with a value."""
    iy, ix = np.nonzero(grid.cells == value)
    return (
        np.array([grid.origin_x, grid.origin_y]) + (np.stack([ix, iy], 1) + 0.5) * grid.resolution
    )


def test_cells_before_beside_and_behind_a_blocker(world: World, class_map: ClassMap) -> None:
    world.panels = [(12.0, -1.0, 1.0, 1.5, CAR)]
    grid = grid_of(world, class_map)
    assert cell(grid, 8.0, 0.0) == FREE
    assert cell(grid, 14.0, 3.0) == FREE
    assert cell(grid, 20.0, 0.0) == UNKNOWN  # behind it
    assert cell(grid, 1.0, 0.0) == UNKNOWN  # below the image
    assert cell(grid, 6.0, 14.0) == UNKNOWN  # beside the view
    assert cell(grid, 12.0, -6.0) == UNKNOWN  # behind the kerb
    contact = grid.cells[:, math.floor(12.0 / 0.2) - 1 : math.floor(12.0 / 0.2) + 2]
    assert (contact == OCCUPIED).any(axis=1)[70:80].all()  # all of the car's width


def test_kerb_is_occupied_without_holes(world: World, class_map: ClassMap) -> None:
    grid = grid_of(world, class_map)
    left = grid.cells[math.floor((4.0 + 15) / 0.2) - 1 : math.floor((4.0 + 15) / 0.2) + 2]
    assert (left == OCCUPIED).any(axis=0)[40:90].all()  # x from 8 to 18 m


@pytest.mark.parametrize(
    'pose',
    [
        CameraPose(1.4, pitch=0.05),
        CameraPose(0.4, pitch=0.1, roll=0.08),
        CameraPose(2.2, pitch=0.25, roll=-0.08, yaw=0.3, x=1.5, y=-0.4),
        CameraPose(1.0, pitch=-0.02, yaw=-0.5),
    ],
)
@pytest.mark.parametrize(
    'lens',
    [
        Calibration.pinhole(320, 180, 70.0),
        Calibration(
            320, 180, 200.0, 200.0, 160.0, 90.0, 'plumb_bob', (-0.25, 0.06, 0.0, 0.0, 0.0)
        ),
        Calibration(320, 180, 150.0, 150.0, 150.0, 95.0, 'equidistant', (0.0, 0.0, 0.0, 0.0)),
    ],
)
@pytest.mark.parametrize('resolution', [0.1, 0.5])
def test_no_cell_is_free_that_is_not_free_in_the_world(
    class_map: ClassMap, pose: CameraPose, lens: Calibration, resolution: float
) -> None:
    world = World(lens, pose, 8.0, [(9.0, -2.5, -1.5, 1.2, CAR), (15.0, 0.5, 2.3, 1.4, CAR)])
    grid = grid_of(world, class_map, resolution=resolution, max_footprint=100.0)
    free = middles(grid, FREE)
    assert len(free) > 20
    half = resolution / 2
    assert (np.abs(free[:, 1]) + half <= 4.0).all()
    away = free - world.pose.position[:2]
    for x, right, left, _, _ in world.panels:
        # What lies in the shadow of a panel, its edges drawn in by a cell, is not known.
        across = pose.y + away[:, 1] * (x - pose.x) / away[:, 0]
        inside = (across > right + resolution) & (across < left - resolution)
        assert not ((free[:, 0] > x + half) & inside).any()


def test_pure_road_is_free_as_far_as_it_is_resolved(world: World, class_map: ClassMap) -> None:
    grid = grid_of(world, class_map, np.zeros((180, 320), np.uint8))
    reach = np.hypot(*middles(grid, FREE).T).max()
    limit = math.sqrt(1.0 * 1.4 * world.calibration.fy)
    assert limit - 1.0 < reach < limit
    assert not (grid.cells == OCCUPIED).any()


def test_pure_sky_is_free_nowhere(world: World, class_map: ClassMap) -> None:
    grid = grid_of(world, class_map, np.full((180, 320), SKY, np.uint8))
    assert not (grid.cells == FREE).any()


def test_ground_below_the_hood_is_unknown(world: World, class_map: ClassMap) -> None:
    bare = grid_of(world, class_map)
    hidden = grid_of(world, class_map, boundary=BoundaryConfig(hood=0.3))
    assert middles(hidden, FREE)[:, 0].min() > middles(bare, FREE)[:, 0].min() + 1.0


def test_layout_of_the_cells(world: World, class_map: ClassMap) -> None:
    grid = grid_of(world, class_map, resolution=0.5, x_min=-5.0, x_max=20.0, y_min=-10, y_max=8)
    assert grid.cells.shape == (36, 50)
    assert grid.cells.dtype == np.int8
    assert (grid.origin_x, grid.origin_y, grid.resolution) == (-5.0, -10.0, 0.5)
    assert cell(grid, 8.0, 0.0) == FREE
    assert (grid.cells[:, :10] == UNKNOWN).all()


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'resolution': 0.0}, 'resolution 0.0 m'),
        ({'resolution': math.nan}, 'resolution nan m'),
        ({'x_min': 10.0, 'x_max': 5.0}, 'give min below max'),
        ({'resolution': 0.01, 'x_max': 400.0}, 'too large'),
        ({'max_footprint': 0.0}, 'max_footprint=0.0 m'),
    ],
)
def test_impossible_grids_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(DrivableError, match=words):
        GridConfig(**settings)
