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
from drivable_world import CAR, POLE, SKY, World

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    CLASS_NONE,
    ROW_NONE,
    BoundaryConfig,
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    DrivableError,
    age_fault,
)
from segformer_ros.frame import BlockedRows, Stamp


def estimator(class_map: ClassMap, **settings: object) -> DrivableAreaEstimator:
    return DrivableAreaEstimator(DrivableConfig(**settings), class_map)  # type: ignore[arg-type]


def test_metres_of_a_known_street(world: World, class_map: ClassMap) -> None:
    world.panels = [(12.0, -1.0, 1.0, 1.5, CAR)]
    area = estimator(class_map).update(
        world.labels(), None, world.calibration, world.pose, Stamp(7, 8)
    )
    assert area.valid
    assert area.reason == ''
    assert area.calibrated
    assert area.stamp == Stamp(7, 8)
    assert (area.image_height, area.image_width) == (180, 320)
    x = area.free_distance * np.cos(area.bearing)
    car = area.blocking_class == CAR
    one_row = 12.0**2 / 1.4 / world.calibration.fy
    assert np.count_nonzero(car) == pytest.approx(128 * (2 / 12) / (2 * math.tan(0.611)), abs=2)
    assert x[car] == pytest.approx(np.full(car.sum(), 12.0), abs=one_row)
    kerb = np.abs(area.free_distance * np.sin(area.bearing))[:20]
    assert kerb == pytest.approx(np.full(20, 4.0), abs=0.3)
    assert (area.distance_sigma[car] > one_row / 2).all()
    assert (np.diff(area.bearing) < 0).all()


def test_arrays_have_the_types_of_the_message(world: World, class_map: ClassMap) -> None:
    area = estimator(class_map).update(world.labels(), None, world.calibration, world.pose)
    for name, dtype in (
        ('column', np.float32),
        ('boundary_row', np.int32),
        ('blocking_class', np.uint8),
        ('confidence', np.float32),
        ('bearing', np.float32),
        ('free_distance', np.float32),
        ('distance_sigma', np.float32),
    ):
        assert getattr(area, name).dtype == dtype, name
        assert getattr(area, name).shape == (128,), name


@pytest.mark.parametrize('missing', ['calibration', 'pose', 'both'])
def test_no_metre_without_calibration_or_pose(
    world: World, class_map: ClassMap, missing: str
) -> None:
    calibration = world.calibration if missing == 'pose' else None
    pose = world.pose if missing == 'calibration' else None
    maker = estimator(class_map)
    area = maker.update(world.labels(), None, calibration, pose)
    assert area.valid
    assert not area.calibrated
    assert len(area.column) == len(area.boundary_row) == 128
    assert len(area.bearing) == len(area.free_distance) == len(area.distance_sigma) == 0
    assert math.isnan(area.corridor.distance)
    assert math.isnan(area.corridor.width)
    assert maker.grid(area) is None
    assert maker.scan(area) is None


def test_camera_that_sees_no_ground_gives_no_metres(world: World, class_map: ClassMap) -> None:
    maker = estimator(class_map)
    labels = np.zeros((180, 320), np.uint8)
    area = maker.update(labels, None, world.calibration, CameraPose(1.4, pitch=-1.2))
    assert area.valid and not area.calibrated
    assert 'sees no ground: by its mount it looks 69 degrees up' in area.reason
    assert len(area.boundary_row) == 128 and len(area.free_distance) == 0
    assert math.isnan(area.corridor.distance)
    assert maker.grid(area) is None and maker.scan(area) is None
    assert maker.update(labels, None, world.calibration, world.pose).calibrated


def test_pure_road_is_free_without_end(world: World, class_map: ClassMap) -> None:
    area = estimator(class_map).update(
        np.zeros((180, 320), np.uint8), None, world.calibration, world.pose
    )
    assert (area.free_distance == np.inf).all()
    assert (area.distance_sigma == np.inf).all()
    assert (area.boundary_row == ROW_NONE).all()
    assert (area.blocking_class == CLASS_NONE).all()
    assert (np.diff(area.bearing) < 0).all()


def test_pure_road_in_an_image_that_ends_below_the_horizon(
    world: World, class_map: ClassMap
) -> None:
    pose = CameraPose(1.4, pitch=0.8)
    labels = np.zeros((180, 320), np.uint8)
    area = estimator(class_map).update(labels, None, world.calibration, pose)
    half = math.atan(90 / world.calibration.fy)
    end = 1.4 / math.tan(0.8 - half)
    assert area.free_distance[64] == pytest.approx(end, rel=0.01)
    assert (area.boundary_row == ROW_NONE).all()
    assert (area.blocking_class == CLASS_NONE).all()
    assert np.isfinite(area.distance_sigma).all()
    assert area.corridor.distance == pytest.approx(end, rel=0.06)
    assert area.corridor.distance <= end
    assert area.corridor.blocking_class == CLASS_NONE and area.corridor.sigma > 0


@pytest.mark.parametrize('roll', [180, 90, -90])
def test_points_of_a_camera_that_is_not_upright_are_those_of_its_image(
    world: World, class_map: ClassMap, roll: int
) -> None:
    """Column and row of the first blocked pixel, entries from left to right over the ground."""
    world.pose = replace(world.pose, roll=math.radians(roll))
    world.panels = [(10.0, -1.0, 1.0, 1.5, CAR)]
    labels = world.labels()
    area = estimator(class_map).update(labels, None, world.calibration, world.pose)
    assert (area.image_height, area.image_width) == (180, 320)
    assert (np.diff(area.bearing) < 0).all()
    car = area.blocking_class == CAR
    assert car.any()
    assert (labels[area.boundary_row[car], area.column[car].astype(int)] == CAR).all()
    x = area.free_distance[car] * np.cos(area.bearing[car])
    assert x == pytest.approx(np.full(car.sum(), 10.0), rel=0.06)


def test_held_blockers_are_given_up_when_the_camera_is_turned(
    world: World, class_map: ClassMap
) -> None:
    maker = estimator(class_map, hold=5.0)
    wall, road = np.full((180, 320), CAR, np.uint8), np.zeros((180, 320), np.uint8)
    maker.update(wall, None, world.calibration, world.pose, Stamp(1, 0))
    over = replace(world.pose, roll=math.pi)
    area = maker.update(road, None, world.calibration, over, Stamp(2, 0))
    assert (area.free_distance == np.inf).all()


def test_pure_sky_is_free_nowhere(world: World, class_map: ClassMap) -> None:
    area = estimator(class_map).update(
        np.full((180, 320), SKY, np.uint8), None, world.calibration, world.pose
    )
    assert (area.free_distance == 0).all()
    assert (area.distance_sigma == 0).all()
    assert (area.blocking_class == SKY).all()


def test_smaller_mask_measures_the_same(world: World, class_map: ClassMap) -> None:
    world.panels = [(8.0, -1.0, 1.0, 1.5, CAR)]
    whole = estimator(class_map, boundary=BoundaryConfig(columns=20))
    large = whole.update(world.labels(), None, world.calibration, world.pose)
    small = whole.update(world.labels()[1::2, 1::2].copy(), None, world.calibration, world.pose)
    assert (small.image_height, small.image_width) == (90, 160)
    both = (large.free_distance < 12) & (small.free_distance < 12)
    assert both.sum() > 10
    assert small.free_distance[both] == pytest.approx(large.free_distance[both], rel=0.08)


def test_change_of_calibration_and_of_pose_is_taken_up(world: World, class_map: ClassMap) -> None:
    maker = estimator(class_map)
    labels = world.labels()
    first = maker.update(labels, None, world.calibration, world.pose)
    raised = maker.update(labels, None, world.calibration, replace(world.pose, height=2.8))
    near = first.free_distance < 20
    assert raised.free_distance[near] == pytest.approx(2 * first.free_distance[near], rel=1e-4)
    wider = maker.update(labels, None, Calibration.pinhole(320, 180, 100.0), world.pose)
    fresh = estimator(class_map).update(
        labels, None, Calibration.pinhole(320, 180, 100.0), world.pose
    )
    assert np.array_equal(wider.free_distance, fresh.free_distance)
    again = maker.update(labels, None, world.calibration, world.pose)
    assert np.array_equal(again.free_distance, first.free_distance)


def test_change_of_image_size_is_taken_up(world: World, class_map: ClassMap) -> None:
    maker = estimator(class_map)
    for size in ((180, 320), (90, 160), (180, 320)):
        area = maker.update(np.zeros(size, np.uint8), None, world.calibration, world.pose)
        assert (area.image_height, area.image_width) == size


def test_uncalibrated_and_calibrated_frames_may_take_turns(
    world: World, class_map: ClassMap
) -> None:
    maker = estimator(class_map)
    assert maker.update(world.labels(), None, world.calibration, world.pose).calibrated
    assert not maker.update(world.labels()).calibrated
    assert maker.update(world.labels(), None, world.calibration, world.pose).calibrated


def test_held_blocker_shows_in_rows_and_metres(world: World, class_map: ClassMap) -> None:
    maker = estimator(class_map, hold=1.0)
    empty = world.labels()
    world.panels = [(10.0, -1.0, 1.0, 1.5, CAR)]
    seen = maker.update(world.labels(), None, world.calibration, world.pose, Stamp(0, 0))
    held = maker.update(empty, None, world.calibration, world.pose, Stamp(0, 500_000_000))
    assert np.array_equal(held.free_distance, seen.free_distance)
    assert np.array_equal(held.boundary_row, seen.boundary_row)
    gone = maker.update(empty, None, world.calibration, world.pose, Stamp(3, 0))
    assert gone.corridor.distance > seen.corridor.distance


def test_pole_of_one_pixel_between_columns_is_not_missed(class_map: ClassMap) -> None:
    world = World(
        Calibration.pinhole(1280, 720, 70.0),
        CameraPose(1.4, pitch=0.05),
        panels=[(11.0, 1.0, 1.02, 0.8, POLE)],
    )
    maker = estimator(class_map)
    area = maker.update(world.labels(), None, world.calibration, world.pose)
    pole = area.blocking_class == POLE
    assert 1 <= np.count_nonzero(pole) <= 2
    assert area.free_distance[pole] == pytest.approx(np.hypot(11.0, 1.0), rel=0.02)


def test_rows_that_an_engine_found_give_the_same(world: World, class_map: ClassMap) -> None:
    world.panels = [(12.0, -1.0, 1.0, 1.5, CAR)]
    maker, labels = estimator(class_map), world.labels()
    own = maker.update(labels, None, world.calibration, world.pose)
    blocked = labels != 0
    rows = np.where(blocked.any(axis=0), len(labels) - 1 - blocked[::-1].argmax(axis=0), -1)
    found = BlockedRows(rows.astype(np.int32), maker.wanted_drivable)
    for rows_of in (found, found._replace(rows=np.zeros_like(rows), drivable=(1,))):
        given = maker.update(labels, None, world.calibration, world.pose, blocked=rows_of)
        assert np.array_equal(given.free_distance, own.free_distance)
        assert np.array_equal(given.blocking_class, own.blocking_class)
    assert np.array_equal(found.rows, rows)  # they are the engine's


def test_invalid_area_says_why_and_nothing_else() -> None:
    area = DrivableArea.invalid(Stamp(1, 2), 'the camera is silent')
    assert (area.valid, area.reason, area.stamp) == (False, 'the camera is silent', Stamp(1, 2))
    assert len(area.column) == len(area.free_distance) == 0
    assert not area.calibrated


@pytest.mark.parametrize(
    ('age', 'words'),
    [
        (0.0, ''),
        (0.5, ''),
        (-0.4, ''),
        (0.51, '0.51 s old; at most 0.5 s'),
        (-2.0, '2.00 s in the future'),
    ],
)
def test_age(age: float, words: str) -> None:
    fault = age_fault(age, 0.5)
    assert fault == '' if not words else words in fault


@pytest.mark.parametrize('width', [0.0, -1.0, 200.0, math.nan])
def test_impossible_corridor_is_refused(width: float) -> None:
    with pytest.raises(DrivableError, match='corridor_width'):
        DrivableConfig(corridor_width=width)
