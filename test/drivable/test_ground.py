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

from segformer_ros.camera import Calibration, CameraPose, RayTable
from segformer_ros.drivable import (
    ROW_NONE,
    ColumnProfile,
    DrivableError,
    GroundConfig,
    GroundProjection,
)

LENSES = {
    'none': (),
    'plumb_bob': (-0.25, 0.06, 0.001, -0.001, 0.0),
    'rational_polynomial': (0.3, 0.05, 0.0, 0.0, 0.01, 0.55, 0.1, 0.02),
    'equidistant': (-0.02, 0.003, 0.0, 0.0),
}
SKY, CAR = 10, 13


def camera(model: str = 'none', width: int = 160, height: int = 120) -> Calibration:
    return Calibration(width, height, 120.0, 118.0, 81.0, 57.0, model, LENSES[model])


def projection(pose: CameraPose, lens: str = 'none', **config: float) -> GroundProjection:
    return GroundProjection(RayTable(camera(lens)), pose, GroundConfig(**config))


def profile(rows: np.ndarray, height: int = 120, class_id: int = CAR) -> ColumnProfile:
    count = len(rows)
    return ColumnProfile(
        height,
        count,
        np.arange(count, dtype=np.int32),
        rows.astype(np.int32),
        height - 1,
        np.full(count, class_id, np.uint8),
        np.full(count, np.nan, np.float32),
    )


@pytest.mark.parametrize('model', LENSES)
def test_ray_table_holds_the_rays_of_pixel_edges(model: str) -> None:
    calibration = camera(model)
    table = RayTable(calibration)
    edges, columns = np.indices((121, 160)).reshape(2, -1)
    rays = np.ones((len(edges), 3))
    rays[:, :2] = table.at(edges, columns)
    pixels = calibration.project(rays)
    assert np.abs(pixels - np.stack([columns, edges - 0.5], axis=1)).max() < 0.01


def test_ray_table_tells_where_the_lens_has_no_ray() -> None:
    fisheye = Calibration(200, 200, 50.0, 50.0, 100.0, 100.0, 'equidistant', (0.0,) * 4)
    table = RayTable(fisheye)  # 115 degrees off the axis at the border: behind the camera
    assert table.lowest[100] < 200
    assert np.isnan(table.at(np.array([200]), np.array([100]))).all()
    assert np.isfinite(table.at(table.lowest[100:101], np.array([100]))).all()


@pytest.mark.parametrize('model', LENSES)
def test_points_lie_where_the_camera_sees_them(model: str) -> None:
    pose = CameraPose(1.3, pitch=0.1, roll=0.05, yaw=-0.2, x=1.5, y=0.3)
    ground = projection(pose, model)
    edges, columns = np.array([70, 90, 119, 80]), np.array([10, 80, 150, 40])
    points = np.concatenate([ground.points(edges, columns), np.zeros((4, 1))], axis=1)
    pixels = camera(model).project((points - pose.position) @ pose.rotation())
    assert pixels == pytest.approx(np.stack([columns, edges - 0.5], axis=1), abs=0.03)


def test_pixels_at_and_above_the_horizon_have_no_ground_point() -> None:
    ground = projection(CameraPose(1.0))
    points = ground.points(np.array([0, 57, 58]), np.array([80, 80, 80]))
    assert np.isnan(points[:2]).all()
    assert points[2, 0] == pytest.approx(118.0 / 0.5, rel=1e-4)  # half a row below the horizon


@pytest.mark.parametrize(
    'pose',
    [
        CameraPose(1.0),
        CameraPose(0.4, pitch=-0.1, roll=0.09),
        CameraPose(2.0, pitch=0.3, roll=-0.3, yaw=1.0),
        CameraPose(1.0, pitch=-0.9),
        CameraPose(1.0, pitch=1.2),
    ],
)
@pytest.mark.parametrize('distance', [2.0, 15.0, math.inf])
@pytest.mark.parametrize('model', ['none', 'plumb_bob'])
def test_reach_is_the_highest_edge_within(pose: CameraPose, distance: float, model: str) -> None:
    ground = projection(pose, model)
    edges = np.repeat(np.arange(121)[:, None], 160, axis=1)
    columns = np.repeat(np.arange(160)[None], 121, axis=0)
    points = ground.points(edges.ravel(), columns.ravel()).reshape(121, 160, 2) - ground.foot
    within = np.hypot(points[..., 0], points[..., 1]) < distance
    expected = np.where(within.any(axis=0), within.argmax(axis=0), 121)
    found = ground.edges_within(np.full(160, distance), np.arange(160))
    assert np.minimum(found, 121).tolist() == expected.tolist()
    late = np.minimum(ground.reach(distance), 121) - expected
    assert late.min() >= 0  # never an edge that is not within
    assert late.max() <= 1
    assert late.mean() < 0.25


def test_ranges_of_the_different_ends() -> None:
    ground = projection(CameraPose(1.0, pitch=0.05))
    rows = np.full(160, 80)
    rows[10] = ROW_NONE  # free to the top
    rows[20] = 119  # blocked from the bottom row on
    rows[30] = 10  # a blocker that begins above the horizon
    ranges = ground.column_ranges(profile(rows))
    assert ranges.distance[10] == math.inf
    assert ranges.distance[20] == 0.0
    horizon = ground.reach(math.inf)[30]
    assert ranges.distance[30] == pytest.approx(
        np.hypot(*ground.points(np.array([horizon]), np.array([30]))[0])
    )
    assert ranges.distance[0] == pytest.approx(
        np.hypot(*ground.points(np.array([81]), np.array([0]))[0])
    )


def test_sky_at_the_horizon_ends_the_view_and_sky_further_down_blocks() -> None:
    ground = projection(CameraPose(1.0, pitch=0.0))
    for row, seen in ((40, math.inf), (57, math.inf), (80, 118 / 23.5)):
        ranges = ground.column_ranges(profile(np.full(160, row), class_id=SKY), sky=(SKY,))
        assert ranges.distance[81] == pytest.approx(seen, rel=1e-3)
    ranges = ground.column_ranges(profile(np.full(160, 40), class_id=CAR), sky=(SKY,))
    assert np.isfinite(ranges.distance).all()


def test_camera_that_sees_no_ground_has_no_distances() -> None:
    ground = projection(CameraPose(1.0, pitch=-1.0))
    ranges = ground.column_ranges(profile(np.full(160, 119)))
    assert np.isnan(ranges.distance).all()
    space = ground.project(ranges, 16)
    assert np.isnan(space.free_distance).all()
    assert np.isnan(space.distance_sigma).all()
    assert np.isfinite(space.bearing).all()


def test_bearing_and_distance_are_taken_from_the_vehicles_origin() -> None:
    """A camera 2 m ahead of the origin, 1 m to its left, looking to the left."""
    pose = CameraPose(1.0, pitch=0.3, yaw=math.pi / 2, x=2.0, y=1.0)
    ground = projection(pose)
    space = ground.project(ground.column_ranges(profile(np.full(160, 80))), 160)
    point = ground.points(np.array([81]), np.array([40]))[0]
    assert space.free_distance[40] == pytest.approx(np.hypot(*point), rel=1e-5)
    assert space.bearing[40] == pytest.approx(math.atan2(point[1], point[0]), rel=1e-5)
    assert point[1] > 1.0


def test_rear_camera_looks_backwards() -> None:
    ground = projection(CameraPose(1.0, pitch=0.3, yaw=math.pi))
    space = ground.project(ground.column_ranges(profile(np.full(160, 80))), 160)
    assert (np.abs(space.bearing) > 2.0).all()


@pytest.mark.parametrize('distance', [4.0, 8.0, 16.0, 24.0])
@pytest.mark.parametrize('wrong_by', [math.radians(1.0), math.radians(-1.0)])
def test_sigma_covers_what_a_wrong_pitch_does(distance: float, wrong_by: float) -> None:
    """With pitch_sigma = 1 degree, sigma is about the error that a pitch wrong by 1 degree makes.

    The error is larger to the far side than to the near one; sigma, of first order, lies between.
    """
    pose = CameraPose(1.5, pitch=0.05)
    true = projection(
        pose, pitch_sigma=math.radians(1.0), pixel_sigma=0, roll_sigma=0, height_sigma=0
    )
    wrong = projection(replace(pose, pitch=pose.pitch + wrong_by))
    edges = true.reach(distance)[80:81]
    columns = np.array([80])
    error = abs(
        np.hypot(*wrong.points(edges, columns)[0]) - np.hypot(*true.points(edges, columns)[0])
    )
    rows = profile(np.full(160, edges[0] - 1))
    sigma = true.project(true.column_ranges(rows), 160).distance_sigma[80]
    assert 0.6 < sigma / error < 1.75


def test_sigma_of_a_degree_equals_the_mean_error_of_a_degree_either_way() -> None:
    pose = CameraPose(1.5, pitch=0.05)
    degree = math.radians(1.0)
    true = projection(pose, pitch_sigma=degree, pixel_sigma=0, roll_sigma=0, height_sigma=0)
    for distance in (3.0, 6.0, 12.0):
        edges, columns = true.reach(distance)[80:81], np.array([80])
        low, high = (
            np.hypot(*projection(replace(pose, pitch=pose.pitch + turn)).points(edges, columns)[0])
            for turn in (degree, -degree)
        )
        rows = profile(np.full(160, edges[0] - 1))
        sigma = true.project(true.column_ranges(rows), 160).distance_sigma[80]
        assert sigma == pytest.approx((high - low) / 2, rel=0.07)


@pytest.mark.parametrize(
    ('name', 'change'),
    [
        ('roll_sigma', {'roll': 0.031}),
        ('height_sigma', {'height': 1.5 * 1.001}),
        ('pitch_sigma', {'pitch': 0.051}),
    ],
)
def test_each_part_of_sigma_is_the_change_that_its_cause_makes(
    name: str, change: dict[str, float]
) -> None:
    pose = CameraPose(1.5, pitch=0.05, roll=0.03, yaw=0.4, x=0.7)
    only = dict.fromkeys(('pixel_sigma', 'pitch_sigma', 'roll_sigma', 'height_sigma'), 0.0)
    only[name] = 0.001
    true = GroundProjection(RayTable(camera()), pose, GroundConfig(**only))
    moved = projection(replace(pose, **change))
    edges, columns = np.array([95]), np.array([20])
    error = abs(
        np.hypot(*moved.points(edges, columns)[0]) - np.hypot(*true.points(edges, columns)[0])
    )
    sigma = true.project(true.column_ranges(profile(np.full(160, 94))), 160).distance_sigma[20]
    assert sigma == pytest.approx(error, rel=0.02)


def test_sigma_of_a_coarse_mask_grows_with_its_cells() -> None:
    ground = projection(CameraPose(1.0, pitch=0.1), pitch_sigma=0, roll_sigma=0, height_sigma=0)
    ranges = ground.column_ranges(profile(np.full(160, 80)))
    fine, coarse = (ground.project(ranges, 160, cell).distance_sigma for cell in (1.0, 8.0))
    one_row = np.diff(np.hypot(*ground.points(np.array([80, 81]), np.array([80, 80])).T))
    assert fine[80] == pytest.approx(-one_row[0], rel=0.05)
    assert coarse == pytest.approx(8 * fine)


def test_nearest_on_the_ground_is_not_always_lowest_in_the_image() -> None:
    """With a rolled camera a blocker higher up in the image may stand nearer."""
    ground = projection(CameraPose(1.0, pitch=0.1, roll=0.3))
    rows = np.full(160, 80)
    rows[4] = 81
    space = ground.project(ground.column_ranges(profile(rows)), 1)
    assert space.strips[0] == 0 or space.strips[0] == 159
    assert rows[space.strips[0]] == 80


@pytest.mark.parametrize(
    'name',
    ['pixel_sigma', 'pitch_sigma', 'roll_sigma', 'height_sigma', 'horizon_margin', 'min_gap'],
)
@pytest.mark.parametrize('value', [-1.0, math.nan, math.inf])
def test_impossible_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(DrivableError, match=f'{name}=.* is not a finite number'):
        GroundConfig(**{name: value})
