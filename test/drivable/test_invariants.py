"""What holds for any camera, mount and mask: random cases, and worlds whose truth is known."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from drivable_world import BUILDING, CAR, ROAD, SKY

from segformer_ros.camera import Calibration, CameraPose
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

SEEDS = range(int(os.environ.get('SEGFORMER_CASES', '150')))
"""Random cases of each invariant; more by the environment variable."""

_LENSES = {
    'none': (),
    'plumb_bob': (-0.3, 0.1, 0.001, -0.001, 0.0),
    'rational_polynomial': (0.3, 0.05, 0.0, 0.0, 0.01, 0.55, 0.1, 0.02),
    'equidistant': (-0.02, 0.003, 0.0, 0.0),
}


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
        width, height, focal, max(focal * aspect, height * 0.01), *centre, model, tuple(distortion)
    )


def random_pose(rng: np.random.Generator) -> CameraPose:
    """Mostly what vehicles have, at any roll; some look anywhere at all."""
    usual = rng.random() < 0.6
    return CameraPose(
        height=float(np.exp(rng.uniform(-3, 2)) if usual else np.exp(rng.uniform(-6, 6))),
        pitch=rng.normal(0.1, 0.2) if usual else rng.uniform(-1.7, 1.7),
        roll=rng.choice([0.0, math.pi, math.pi / 2, -math.pi / 2, rng.uniform(-3.2, 3.2)]),
        yaw=rng.normal(0, 0.3) if usual else rng.uniform(-3.2, 3.2),
        x=rng.choice([0.0, rng.normal(0, 2)]),
        y=rng.choice([0.0, rng.normal(0, 1)]),
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
        range_max=rng.choice([5.0, 50.0, 1e4]),
    )
    ground = GroundConfig(min_gap=rng.choice([0.0, 1.0]), pitch_sigma=rng.choice([0.0, 0.01, 0.2]))
    return DrivableConfig(scan=scan, ground=ground, hold=rng.choice([0.0, 1.0]))


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
