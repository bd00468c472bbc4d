# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The organised cloud: which pixels have a place on the ground, and which."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from drivable_world import BUILDING, CAR, PERSON, ROAD, SKY, TERRAIN, World

from segformer_ros.camera import Calibration, CameraPose, RayTable
from segformer_ros.classes import ClassMap, SegClass
from segformer_ros.drivable import (
    BoundaryConfig,
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    DrivableError,
    GroundConfig,
    GroundProjection,
    PointsConfig,
)
from segformer_ros.drivable.ground import ColumnRanges
from segformer_ros.drivable.ground_points import blocker_contacts, ground_names
from segformer_ros.drivable.profile import ColumnProfile


def points_of(
    world: World,
    class_map: ClassMap,
    labels: np.ndarray | None = None,
    max_sigma: float = 1.0,
    hood: float = 0.0,
    cell: float = 1.0,
) -> np.ndarray:
    config = DrivableConfig(
        boundary=BoundaryConfig(hood=hood), points=PointsConfig(max_sigma=max_sigma)
    )
    estimator = DrivableAreaEstimator(config, class_map)
    labels = world.labels() if labels is None else labels
    area = estimator.update(labels, None, world.calibration, world.pose, cell=cell)
    points = estimator.points(area, labels)
    assert points is not None
    assert points.shape == (*labels.shape, 3)
    assert points.dtype == np.float32
    known = np.isfinite(points)
    assert (known.all(axis=2) == known.any(axis=2)).all()  # all three, or none
    assert (points[..., 2][known[..., 2]] == 0).all()
    return points


def true_places(world: World) -> np.ndarray:
    """Where the pixel centres' rays meet the ground: (H, W, 2) m."""
    rays = world.calibration.rays() @ world.pose.rotation().T
    with np.errstate(divide='ignore', invalid='ignore'):
        scale = np.where(rays[..., 2] < 0, -world.pose.height / rays[..., 2], np.nan)
    places: np.ndarray = world.pose.position[:2] + rays[..., :2] * scale[..., None]
    return places


POSES = [
    CameraPose(1.4, pitch=0.05),
    CameraPose(0.4, pitch=0.2, roll=0.03, yaw=0.5, x=0.6, y=-0.2),
    CameraPose(1.4, pitch=0.05, roll=math.pi),
    CameraPose(1.4, pitch=0.05, roll=math.pi / 2),
    CameraPose(1.4, pitch=0.05, roll=-math.pi / 2),
    CameraPose(2.0, pitch=1.4),
]


@pytest.mark.parametrize('pose', POSES)
def test_ground_lies_where_its_rays_meet_it(
    world: World, class_map: ClassMap, pose: CameraPose
) -> None:
    world.pose = pose
    points, places = points_of(world, class_map), true_places(world)
    known = np.isfinite(points[..., 0])
    assert known.mean() > 0.2
    assert np.abs(points[known][:, :2] - places[known]).max() < 0.01
    # All that is near is known, up to one distance.
    away = np.hypot(*(places - pose.position[:2]).transpose(2, 0, 1))
    assert known[away < 0.6 * away[known].max()].all()


def test_nothing_beyond_what_is_known_to_one_sigma(world: World, class_map: ClassMap) -> None:
    reach = {}
    for max_sigma in (0.2, 1.0, 5.0):
        points = points_of(world, class_map, max_sigma=max_sigma)
        reach[max_sigma] = np.nanmax(points[:, 160, 0])
        # d^2 / h times the pitch's half degree, to begin with; the mask's rows add their share.
        from_pitch = math.sqrt(max_sigma * world.pose.height / math.radians(0.5))
        assert 0.6 * from_pitch < reach[max_sigma] < from_pitch
    assert reach[0.2] < reach[1.0] < reach[5.0]
    coarse = points_of(world, class_map, cell=6.0)
    assert np.nanmax(coarse[:, 160, 0]) < reach[1.0]


def test_what_stands_is_at_its_contact_and_hides_what_is_behind(
    world: World, class_map: ClassMap
) -> None:
    world.panels = [(8.0, -1.0, 1.0, 0.8, CAR)]  # low: road is seen above it
    labels = world.labels()
    column = 160
    rows = np.flatnonzero(labels[:, column] == CAR)
    assert labels[rows.min() - 1, column] == ROAD
    points = points_of(world, class_map)[:, column]
    contact = rows.max()
    assert points[contact, 0] == pytest.approx(8.0, abs=0.2)
    assert (points[contact - 3 : contact + 1] == points[contact]).all()  # a few rows of it
    assert np.isnan(points[: contact - 3]).all()
    assert (points[contact + 1 :, 0] < 8.0).all()


def test_rows_of_a_blocker_are_its_own(world: World, class_map: ClassMap) -> None:
    labels = np.full((180, 320), ROAD, np.uint8)
    labels[:80] = SKY
    labels[120:122, 100] = PERSON  # two rows high, road above
    points = points_of(world, class_map, labels)[:, 100]
    assert np.isfinite(points[120:122]).all()
    assert (points[120] == points[121]).all()
    assert np.isnan(points[:120]).all()


def test_a_hole_of_sky_in_the_road_is_no_free_road(world: World, class_map: ClassMap) -> None:
    labels = world.labels()
    labels[140:, 100:120] = SKY
    points = points_of(world, class_map, labels)
    assert np.isnan(points[:100, 100:120]).all()
    assert np.isfinite(points[179, 100:120]).all()  # blocked from the bottom on, and said to be
    assert not (np.isfinite(points[..., 0]) & (labels == ROAD))[:, 100:120].any()


def test_pixels_without_a_class_have_no_place_and_hide_what_is_behind(
    world: World, class_map: ClassMap
) -> None:
    labels = world.labels()
    labels[140:142] = 255
    points = points_of(world, class_map, labels)
    assert np.isnan(points[:142]).all()
    assert np.isfinite(points[142:]).all()


def test_the_hood_is_no_ground(world: World, class_map: ClassMap) -> None:
    points = points_of(world, class_map, hood=0.1)
    assert np.isnan(points[162:]).all()
    assert np.isfinite(points[161]).all()


def test_a_lens_without_rays_in_its_corners(world: World, class_map: ClassMap) -> None:
    pinhole = world.calibration
    world.calibration = replace(
        pinhole, model='equidistant', distortion=(0.0,) * 4, fx=60.0, fy=60.0
    )
    points, places = points_of(world, class_map), true_places(world)
    known = np.isfinite(points[..., 0])
    assert known.any()
    near = known & (np.abs(places) < 10).all(axis=2)
    assert np.abs(points[near][:, :2] - places[near]).max() < 0.05


def test_a_camera_without_calibration_gives_none(world: World, class_map: ClassMap) -> None:
    estimator = DrivableAreaEstimator(DrivableConfig(), class_map)
    labels = world.labels()
    assert estimator.points(estimator.update(labels), labels) is None


def test_ground_is_what_can_be_driven_on_or_is_flat(class_map: ClassMap) -> None:
    assert ground_names(class_map) == ('road', 'sidewalk', 'terrain')
    own = ClassMap(
        'own',
        tuple(
            SegClass(i, name, (i, i, i), group=group)
            for i, (name, group) in enumerate([('lawn', ''), ('kerb', 'flat'), ('shed', '')])
        ),
        {'lawn': ('lawn',)},
    )
    assert ground_names(own) == ('lawn', 'kerb')


def test_a_class_map_without_ground_has_no_points(world: World) -> None:
    own = ClassMap('own', tuple(SegClass(i, f'c{i}', (i, i, i)) for i in range(14)), {'none': ()})
    config = DrivableConfig(boundary=BoundaryConfig(drivable='none'))
    estimator = DrivableAreaEstimator(config, own)
    labels = world.labels()
    area = estimator.update(labels, None, world.calibration, world.pose)
    points = estimator.points(area, labels)
    assert points is not None
    assert np.isnan(points).all()


def test_terrain_is_ground_and_a_building_is_not(world: World, class_map: ClassMap) -> None:
    for class_id, ground in ((TERRAIN, True), (BUILDING, False)):
        labels = np.full((180, 320), class_id, np.uint8)
        points = points_of(world, class_map, labels)
        places = np.unique(points[:, 160][np.isfinite(points[:, 160, 0])], axis=0)
        assert (len(places) > 20) == ground


def test_sigma_must_be_above_zero() -> None:
    with pytest.raises(DrivableError, match=r'max_sigma=0 m: give metres above 0'):
        PointsConfig(max_sigma=0)


def test_small_masks(class_map: ClassMap) -> None:
    for size in ((1, 1), (2, 3), (5, 400)):
        world = World(Calibration.pinhole(size[1], size[0], 70.0), CameraPose(1.4, pitch=0.4))
        points_of(world, class_map)


def contacts_of(
    points: list[tuple[float, float]], step: float, distance: list[float] | None = None
) -> list[list[float]]:
    count = len(points)
    columns = np.arange(count, dtype=np.int32)
    profile = ColumnProfile(
        100,
        count,
        columns,
        np.zeros(count, np.int32),
        99,
        np.arange(count, dtype=np.uint8),
        np.zeros(count, np.float32),
    )
    reach = distance or [math.hypot(*point) for point in points]
    ranges = ColumnRanges(
        columns, np.zeros(count, np.intp), np.array(points), np.array(reach), np.isfinite(reach)
    )
    camera = Calibration(count, 100, 1000.0, 1000.0, 0.0, 50.0)
    ground = GroundProjection(RayTable(camera), CameraPose(1.0), GroundConfig())
    return sorted(blocker_contacts(ground, profile, ranges, step).points.tolist())


def test_neighbours_on_one_edge_are_joined() -> None:
    assert contacts_of([(10.0, 0.0), (10.0, 0.5)], 0.2) == [
        [10.0, 0.0],
        [10.0, 0.5 / 3],
        [10.0, 1.0 / 3],
        [10.0, 0.5],
    ]


def test_different_blockers_are_not_joined() -> None:
    assert contacts_of([(10.0, 0.0), (14.0, 0.5)], 0.2) == [[10.0, 0.0], [14.0, 0.5]]


def test_columns_without_a_blocker_part_their_neighbours() -> None:
    points = [(10.0, 0.0), (math.nan, math.nan), (10.0, 0.5)]
    assert contacts_of(points, 0.2, [10.0, math.inf, 10.0]) == [[10.0, 0.0], [10.0, 0.5]]


def test_no_blocker_no_contact() -> None:
    assert contacts_of([(1.0, 0.0)], 0.2, [math.inf]) == []


def area_of(world: World, class_map: ClassMap, min_gap: float) -> DrivableArea:
    estimator = DrivableAreaEstimator(
        DrivableConfig(ground=GroundConfig(min_gap=min_gap)), class_map
    )
    return estimator.update(world.labels(), None, world.calibration, world.pose)


@pytest.fixture
def gate(world: World) -> World:
    """Two cars at 8 and 9 m with 1.5 m between them, and the open road behind."""
    world.panels = [(8.0, -3.0, -0.75, 1.5, CAR), (9.0, 0.75, 3.0, 1.5, PERSON)]
    return world


def ahead(area: DrivableArea) -> float:
    return float(area.free_distance[np.abs(area.bearing).argmin()])


def test_wide_gap_stays_open(gate: World, class_map: ClassMap) -> None:
    assert ahead(area_of(gate, class_map, 0.0)) > 30
    assert ahead(area_of(gate, class_map, 1.2)) > 30


def test_narrow_gap_is_closed_at_its_farther_side(gate: World, class_map: ClassMap) -> None:
    area = area_of(gate, class_map, 2.5)
    at = int(np.abs(area.bearing).argmin())
    assert area.free_distance[at] == pytest.approx(9.0, rel=0.05)
    assert area.blocking_class[at] == PERSON


def test_closing_gaps_never_frees_a_column(gate: World, class_map: ClassMap) -> None:
    for min_gap in (0.5, 1.0, 3.0, 6.0):
        before, after = area_of(gate, class_map, 0.0), area_of(gate, class_map, min_gap)
        assert (after.free_distance <= before.free_distance * 1.001).all()
