# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What holds for any camera, mount and mask: random cases, and worlds whose truth is known."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from drivable_world import BUILDING, CAR, ROAD, SKY, World

from segformer_ros.camera import (
    Calibration,
    CalibrationError,
    CameraPose,
    calibration_from_camera_info,
    camera_info_fields,
)
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    GridNumbers,
    GroundConfig,
    ScanConfig,
    ScanNumbers,
)
from segformer_ros.drivable.grid import FREE, OCCUPIED, UNKNOWN

SEEDS = range(int(os.environ.get('SEGFORMER_CASES', '60')))
"""Random cases of each invariant; more by the environment variable."""

_LENSES = {
    'none': (),
    'plumb_bob': (-0.3, 0.1, 0.001, -0.001, 0.0),
    'rational_polynomial': (0.3, 0.05, 0.0, 0.0, 0.01, 0.55, 0.1, 0.02),
    'equidistant': (-0.02, 0.003, 0.0, 0.0),
}


_PLAIN = DrivableConfig()


class Outcome(NamedTuple):
    """All that one frame gives."""

    area: DrivableArea
    grid: GridNumbers | None
    scan: ScanNumbers | None


def random_lens(rng: np.random.Generator) -> Calibration:
    """Small and large masks, narrow and wide views, square and other pixels, all models."""
    width, height = (int(side) for side in np.exp(rng.uniform(0, math.log(400), 2)))
    model = str(rng.choice(list(_LENSES)))
    focal = width / 2 / math.tan(math.radians(rng.uniform(5, 160)) / 2)
    aspect = rng.uniform(0.5, 2.0) if rng.random() < 0.3 else 1.0
    centre = rng.normal(0.5, 0.1, 2) * (width, height)
    distortion = np.array(_LENSES[model]) * rng.choice([0.0, 1.0, rng.normal(0, 30)])
    return Calibration(
        width,
        height,
        focal,
        max(focal * aspect, height * 0.01),
        centre[0],
        centre[1],
        model,
        tuple(distortion),
    )


def one_of(rng: np.random.Generator, *values: float) -> float:
    return float(rng.choice(values))


def random_pose(rng: np.random.Generator) -> CameraPose:
    """Mostly what vehicles have, at any roll; some look anywhere at all."""
    usual = rng.random() < 0.6
    return CameraPose(
        height=float(np.exp(rng.uniform(-3, 2)) if usual else np.exp(rng.uniform(-6, 6))),
        pitch=rng.normal(0.1, 0.2) if usual else rng.uniform(-1.7, 1.7),
        roll=one_of(rng, 0, math.pi, math.pi / 2, -math.pi / 2, rng.uniform(-3.2, 3.2)),
        yaw=rng.normal(0, 0.3) if usual else rng.uniform(-3.2, 3.2),
        x=one_of(rng, 0, rng.normal(0, 2)),
        y=one_of(rng, 0, rng.normal(0, 1)),
    )


def random_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Road with blockers, stripes, noise or nothing in it, under sky or not: uint8."""
    mask = np.full((height, width), rng.choice([ROAD, ROAD, BUILDING, SKY]), np.uint8)
    for _ in range(rng.integers(0, 5)):
        top, left = rng.integers(0, height), rng.integers(0, width)
        bottom, right = rng.integers(top, height) + 1, rng.integers(left, width) + 1
        mask[top:bottom, left:right] = rng.choice([ROAD, CAR, SKY, BUILDING, 255])
    if rng.random() < 0.2:
        noisy = rng.random(mask.shape) < 0.05
        mask[noisy] = rng.integers(0, 256, noisy.sum())
    return mask


def random_config(rng: np.random.Generator) -> DrivableConfig:
    increment = math.radians(float(np.exp(rng.uniform(math.log(0.05), math.log(20)))))
    full = rng.random() < 0.5
    scan = ScanConfig(
        angle_min=-math.pi if full else -1.5,
        angle_max=math.pi if full else 1.5,
        angle_increment=increment,
        range_max=one_of(rng, 5, 50, 1e4),
    )
    ground = GroundConfig(min_gap=one_of(rng, 0, 1), pitch_sigma=one_of(rng, 0, 0.01, 0.2))
    return DrivableConfig(scan=scan, ground=ground, hold=one_of(rng, 0, 1))


def outcome_of(
    class_map: ClassMap,
    mask: np.ndarray,
    lens: Calibration,
    pose: CameraPose,
    config: DrivableConfig | None = None,
) -> Outcome:
    """What a frame gives; a warning of numpy is a fault."""
    estimator = DrivableAreaEstimator(config or DrivableConfig(), class_map)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        area = estimator.update(mask, np.full(mask.shape, 200, np.uint8), lens, pose)
        return Outcome(area, estimator.grid(area), estimator.scan(area))


def assert_numbers(outcome: Outcome, mask: np.ndarray, config: DrivableConfig) -> None:
    """Every number is finite, or what the message says in its place."""
    area, grid, scan = outcome
    rows = area.boundary_row
    assert ((rows >= -1) & (rows < mask.shape[0])).all()
    assert ((area.column >= 0) & (area.column < mask.shape[1])).all()
    assert (area.image_height, area.image_width) == mask.shape
    if not area.calibrated:
        assert 'sees no ground' in area.reason
        assert grid is None and scan is None and len(area.free_distance) == 0
        assert math.isnan(area.corridor.distance)
        return
    assert area.reason == '' and area.view is not None and grid and scan
    assert np.isfinite(area.bearing).all()
    unseen = np.isnan(area.free_distance)  # columns that see no ground
    assert not unseen.all()
    assert (np.isnan(area.distance_sigma) == unseen).all()
    assert (area.free_distance[~unseen] >= 0).all() and (area.distance_sigma[~unseen] >= 0).all()
    assert (np.isinf(area.distance_sigma) == np.isinf(area.free_distance)).all()
    assert area.corridor.distance >= 0 and area.corridor.sigma >= 0
    assert math.isinf(area.corridor.sigma) == math.isinf(area.corridor.distance)
    assert np.isin(grid.cells, [FREE, OCCUPIED, UNKNOWN]).all()
    near = scan.ranges[np.isfinite(scan.ranges)]
    assert (near >= np.float32(config.scan.range_min)).all()
    assert (near <= np.float32(config.scan.range_max)).all()
    assert not np.isneginf(scan.ranges).any()


@pytest.mark.parametrize('seed', SEEDS)
def test_every_number_is_one_for_any_camera_and_mask(class_map: ClassMap, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lens, pose, config = random_lens(rng), random_pose(rng), random_config(rng)
    mask = random_mask(rng, lens.height, lens.width)
    assert_numbers(outcome_of(class_map, mask, lens, pose, config), mask, config)


@pytest.mark.parametrize('seed', SEEDS)
def test_nothing_is_free_in_a_mask_without_a_free_pixel(class_map: ClassMap, seed: int) -> None:
    rng = np.random.default_rng(seed + 10_000)
    lens, pose, config = random_lens(rng), random_pose(rng), random_config(rng)
    mask = random_mask(rng, lens.height, lens.width)
    mask[mask == ROAD] = rng.choice([BUILDING, CAR, SKY, 255])
    outcome = outcome_of(class_map, mask, lens, pose, config)
    assert_numbers(outcome, mask, config)
    area, grid, scan = outcome
    if not area.calibrated:
        return
    assert grid and scan
    assert not (grid.cells == FREE).any()
    assert not np.isposinf(scan.ranges).any()
    assert area.corridor.distance == 0
    seen = ~np.isnan(area.free_distance)
    assert (area.free_distance[seen] == 0).all()


def ring(lens: Calibration, pose: CameraPose, radius: float) -> np.ndarray:
    """Mask of a street that a wall `radius` m around the camera closes: (H, W) uint8."""
    rays = lens.rays() @ pose.rotation().T
    with np.errstate(divide='ignore', invalid='ignore'):
        reach = pose.height / -rays[..., 2] * np.hypot(rays[..., 0], rays[..., 1])
    return np.where((rays[..., 2] < 0) & (reach < radius), ROAD, BUILDING).astype(np.uint8)


@pytest.mark.parametrize('seed', SEEDS)
def test_closed_wall_blocks_every_beam_and_the_corridor(class_map: ClassMap, seed: int) -> None:
    rng = np.random.default_rng(seed + 20_000)
    lens, pose, config = random_lens(rng), random_pose(rng), random_config(rng)
    config = replace(config, scan=replace(config.scan, range_max=1e4))
    radius = float(rng.uniform(2, 60))
    mask = ring(lens, pose, radius)
    area, grid, scan = outcome_of(class_map, mask, lens, pose, config)
    if not area.calibrated:
        return
    assert grid and scan and area.view
    if area.view.ranges.blocked.all():
        assert not np.isposinf(scan.ranges).any()
        assert area.corridor.distance < math.inf
    for left, right, near, far in pairs(area):
        if max(near, far) > scan.range_max:
            continue
        for angle, distance in beams_between(scan, left, right):
            assert not math.isnan(distance), f'nothing at {math.degrees(angle)} degrees'
            assert distance <= 1.01 * max(near, far, scan.range_min) + 0.01


def pairs(area: DrivableArea) -> list[tuple[float, float, float, float]]:
    """Bearings and distances of the blocked strips side by side of an area."""
    assert area.view is not None
    ranges = area.view.ranges
    distance = np.hypot(*ranges.points.T)
    bearing = np.arctan2(ranges.points[:, 1], ranges.points[:, 0])
    taken = ranges.blocked & ~np.isnan(ranges.distance) & np.isfinite(distance)
    both = np.flatnonzero(taken[:-1] & taken[1:])
    values = np.stack([bearing[both], bearing[both + 1], distance[both], distance[both + 1]], 1)
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in values]


def beams_between(scan: ScanNumbers, left: float, right: float) -> list[tuple[float, float]]:
    """Angle and range of the beams in the smaller arc between two bearings, less a hair."""
    angles = scan.angle_min + np.arange(len(scan.ranges)) * scan.angle_increment
    span = (right - left + math.pi) % (2 * math.pi) - math.pi
    off = (angles - left + math.pi) % (2 * math.pi) - math.pi
    inside = (off * np.sign(span) > 1e-9) & (np.abs(off) < abs(span) - 1e-9)
    return list(zip(angles[inside].tolist(), scan.ranges[inside].tolist(), strict=True))


def turned(world: World, roll: float) -> World:
    """The world seen by the same camera turned by `roll` about its optical axis."""
    c, s = math.cos(roll), math.sin(roll)
    rotation = world.pose.rotation() @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return replace(world, pose=pose_of(rotation, world.pose))


def pose_of(rotation: np.ndarray, pose: CameraPose) -> CameraPose:
    """`pose` with the rotation (3, 3) vehicle_from_optical."""
    body = rotation @ CameraPose(1.0).rotation().T
    return replace(
        pose,
        pitch=math.asin(max(-1.0, min(1.0, -body[2, 0]))),
        roll=math.atan2(body[2, 1], body[2, 2]),
        yaw=math.atan2(body[1, 0], body[0, 0]),
    )


def quarter(lens: Calibration, quarters: int) -> Calibration:
    """The lens of images that are turned counterclockwise; for lenses without skewed parts."""
    for _ in range(quarters):
        lens = replace(
            lens,
            width=lens.height,
            height=lens.width,
            fx=lens.fy,
            fy=lens.fx,
            cx=lens.cy,
            cy=lens.width - 1 - lens.cx,
        )
    return lens


@pytest.mark.parametrize('quarters', [1, 2, 3])
@pytest.mark.parametrize('seed', SEEDS[: len(SEEDS) // 3])
def test_image_and_camera_turned_together_give_the_same_metres(
    class_map: ClassMap, seed: int, quarters: int
) -> None:
    rng = np.random.default_rng(seed + 30_000)
    lens, config = random_lens(rng), random_config(rng)
    radial = tuple(k if i not in (2, 3) else 0.0 for i, k in enumerate(lens.distortion))
    if lens.model != 'equidistant':
        lens = replace(lens, distortion=radial)
    # Away from rolls where either of two sides may be the bottom.
    pose = replace(random_pose(rng), pitch=rng.uniform(-0.3, 1.2), roll=rng.uniform(-0.7, 0.7))
    mask = random_mask(rng, lens.height, lens.width)
    c, s = math.cos(quarters * math.pi / 2), math.sin(quarters * math.pi / 2)
    other_pose = pose_of(pose.rotation() @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), pose)
    other_lens = quarter(lens, quarters)
    other_mask = np.ascontiguousarray(np.rot90(mask, quarters))
    area, grid, scan = outcome_of(class_map, mask, lens, pose, config)
    other, other_grid, other_scan = outcome_of(
        class_map, other_mask, other_lens, other_pose, config
    )
    assert other.calibrated == area.calibrated
    if not area.calibrated:
        return
    assert grid and scan and other_grid and other_scan
    for name in ('bearing', 'free_distance', 'distance_sigma'):
        np.testing.assert_allclose(
            getattr(other, name), getattr(area, name), 1e-3, 1e-4, err_msg=name
        )
    np.testing.assert_allclose(other.corridor, area.corridor, 1e-3)
    assert (other_grid.cells != grid.cells).mean() < 0.002
    same = np.isclose(other_scan.ranges, scan.ranges, 1e-3, equal_nan=True)
    assert (~same).sum() <= 2  # beams at the very edge of a column
    # The points are those of the other image.
    blocked = area.boundary_row >= 0
    assert ((other.boundary_row >= 0) == blocked).all()
    labels = other_mask[other.boundary_row[blocked], other.column[blocked].astype(int)]
    assert (labels == mask[area.boundary_row[blocked], area.column[blocked].astype(int)]).all()


@pytest.mark.parametrize('roll', range(-180, 180, 15))
@pytest.mark.parametrize('pitch', [0.05, 0.4])
def test_any_roll_measures_the_same_street(
    world: World, class_map: ClassMap, roll: int, pitch: float
) -> None:
    world.pose = replace(world.pose, pitch=pitch)
    world.panels = [(6.0, -20.0, 20.0, 30.0, CAR)]
    rolled = turned(world, math.radians(roll))
    area, grid, scan = outcome_of(class_map, rolled.labels(), rolled.calibration, rolled.pose)
    assert area.calibrated and grid and scan
    assert area.corridor.distance == pytest.approx(6.0, rel=0.06)
    assert area.corridor.blocking_class == CAR
    ahead = len(scan.ranges) // 2
    assert scan.ranges[ahead - 2 : ahead + 3] == pytest.approx([6.0] * 5, rel=0.06)
    x = grid.origin_x + (np.nonzero(grid.cells == FREE)[1] + 1) * grid.resolution
    assert len(x) > 100
    assert x.max() <= 6.1


@pytest.mark.parametrize('seed', SEEDS)
def test_nothing_is_free_that_is_not_free_in_the_world(class_map: ClassMap, seed: int) -> None:
    """Streets with walls, seen from any mount: cells, corridor and beams against the truth."""
    rng = np.random.default_rng(seed + 40_000)
    model = str(rng.choice(list(_LENSES)))
    width = int(rng.integers(60, 400))
    height = int(width * rng.uniform(0.4, 1.2))
    focal = width / 2 / math.tan(math.radians(rng.uniform(40, 110)) / 2)
    lens = Calibration(width, height, focal, focal, width / 2, height / 2, model, _LENSES[model])
    pose = CameraPose(
        rng.uniform(0.3, 3.0),
        pitch=rng.uniform(-0.1, 1.4),
        roll=rng.uniform(-3.2, 3.2),
        yaw=rng.normal(0, 0.4),
        x=rng.uniform(0, 2),
        y=rng.normal(0, 0.4),
    )
    walls = [(float(x), -40.0, 40.0, 60.0, CAR) for x in [rng.uniform(4, 12)]]
    world = World(lens, pose, 7.0, walls)
    area, grid, scan = outcome_of(class_map, world.labels(), lens, pose)
    if not area.calibrated:
        return
    assert grid and scan
    wall = walls[0][0]
    iy, ix = np.nonzero(grid.cells == FREE)
    assert (grid.origin_x + ix * grid.resolution < wall).all()
    left = grid.origin_y + (iy + 0.5) * grid.resolution
    assert (np.abs(left) < 3.5 + grid.resolution).all()
    row = 3 * wall**2 / pose.height / focal  # m that three rows of the mask span there
    assert area.corridor.distance <= wall + row
    angles = scan.angle_min + np.arange(len(scan.ranges)) * scan.angle_increment
    ahead = np.abs(angles) < math.atan2(3.5, wall)
    assert not np.isposinf(scan.ranges[ahead]).any()


_ODD = (0.0, -0.0, 1.0, -1.0, 5e-324, 1e-300, 1e300, -1e300, math.inf, -math.inf, math.nan, 1e6)


@pytest.mark.parametrize('seed', SEEDS)
def test_any_camera_info_that_is_taken_gives_numbers(class_map: ClassMap, seed: int) -> None:
    """Calibration files with anything in them: refused with a reason, or right."""
    rng = np.random.default_rng(seed + 50_000)
    lens = Calibration.pinhole(int(rng.integers(8, 200)), int(rng.integers(8, 200)), 70.0)
    fields = camera_info_fields(lens)
    fields['distortion_model'] = model = str(rng.choice([*_LENSES, 'fisheye', '', 'odd']))
    fields['d'] = np.array(_LENSES.get(model, ()))
    for name in rng.choice(['d', 'k', 'p', 'r'], rng.integers(1, 3)):
        values = fields[name]
        if len(values):
            values[rng.integers(len(values))] = rng.choice([*_ODD, rng.normal(0, 1e3)])
    if rng.random() < 0.3:
        fields['binning_x'], fields['binning_y'] = rng.choice([0, 1, 2, 3, 1000, 2**32 - 1], 2)
    roi = fields['roi']
    if rng.random() < 0.3:
        for name in ('x_offset', 'y_offset', 'width', 'height'):
            roi[name] = int(rng.choice([0, 1, 5, 100, 2**32 - 1]))
    info = SimpleNamespace(**{**fields, 'roi': SimpleNamespace(**roi)})
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            found = calibration_from_camera_info(info, bool(rng.random() < 0.3))
        except CalibrationError:
            return
    pose, config = CameraPose(1.4, pitch=rng.normal(0.05, 0.1), roll=rng.normal(0, 1)), _PLAIN
    mask = random_mask(rng, found.height, found.width)
    assert_numbers(outcome_of(class_map, mask, found, pose, config), mask, config)
