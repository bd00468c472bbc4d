# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Free space along columns and from above: rates by hand, and distances of a known camera."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segformer_ros.camera import Calibration, Camera, CameraPose
from segformer_ros.classes import ClassMapError, load_class_map
from segformer_ros.metrics.free_space import (
    KITTI_ROAD,
    METRES,
    ROWS,
    CellGrid,
    FreeSpaceMetric,
    FreeSpaceReader,
    GroundCells,
    GroundOverlap,
    cell_pixels,
)

CITYSCAPES = load_class_map('cityscapes')
ROAD, SIDEWALK, CAR, SKY = CITYSCAPES.ids('road', 'sidewalk', 'car', 'sky')
COARSE = CellGrid(cell=0.8)
CAMERA = Calibration(320, 240, 200.0, 190.0, 158.0, 101.0)
LENS = Calibration(320, 240, 200.0, 190.0, 158.0, 101.0, 'plumb_bob', (-0.2, 0.05, 0.001, 0.002))
LEVEL = CameraPose(1.5)
TILTED = CameraPose(1.7, pitch=0.12, roll=0.07, yaw=0.4, x=1.3, y=-0.2)
BACKWARDS = CameraPose(1.2, pitch=0.05, yaw=math.pi)
inf, nan = math.inf, math.nan


def test_rates_by_band_of_the_true_distance() -> None:
    metric = FreeSpaceMetric(METRES)
    true = np.array([3.0, 3.0, 8.0, 15.0, 15.0, 30.0, inf, nan, 5.0])
    guess = np.array([4.9, 5.0, 6.0, 15.0, 13.5, inf, 30.0, 5.0, nan])
    assert metric.update(true, guess) == (7, 2, 2)
    scores = metric.compute()
    np.testing.assert_array_equal(scores.columns, [2, 1, 2, 1, 1])
    np.testing.assert_array_equal(scores.false_free_rate, [0.5, 0, 0, 1, 0])
    np.testing.assert_array_equal(scores.false_blocked_rate, [0, 1, 0, 0, 1])
    assert scores.false_free == 2 / 7
    assert scores.false_blocked == 2 / 7


def test_errors_of_the_distance() -> None:
    metric = FreeSpaceMetric(METRES)
    metric.update(np.array([10.0, 10.0, 10.0, 90.0]), np.array([10.5, 9.0, 11.0, 70.0]))
    scores = metric.compute()  # what lies beyond the reach in both is not measured
    assert scores.bias == pytest.approx(0.5 / 3)
    assert scores.mean_error == pytest.approx(2.5 / 3)
    assert scores.p50 == pytest.approx(1.0, abs=0.011)


def test_merging_equals_counting_together() -> None:
    rng = np.random.default_rng(1)
    whole, parts = FreeSpaceMetric(METRES), [FreeSpaceMetric(METRES) for _ in range(3)]
    for part in parts:
        columns = rng.uniform(0, 60, (2, 50))
        whole.update(*columns)
        part.update(*columns)
    parts[2].merge(parts[0].counts)
    parts[2].merge(parts[1].counts)
    np.testing.assert_array_equal(parts[2].counts, whole.counts)


def street(blocked_from_row: int, height: int = 240, width: int = 320) -> np.ndarray:
    """Road below a car that fills the view down to a row."""
    labels = np.full((height, width), ROAD, np.uint8)
    labels[: blocked_from_row + 1] = CAR
    labels[:20] = SKY
    return labels


def test_distance_of_a_known_camera() -> None:
    calibration = Calibration.pinhole(320, 240, 60.0)
    reader = FreeSpaceReader(CITYSCAPES, 'road', Camera(calibration, CameraPose(1.5)))
    ends = reader.read(street(159))
    # The contact lies on the edge below row 159: rays fall by (159.5 - cy) / f for each metre.
    forward = 1.5 * calibration.fy / (159.5 - calibration.cy)
    assert ends.metres is not None
    assert float(ends.metres.min()) == pytest.approx(forward, rel=1e-3)
    assert np.allclose(ends.rows, 80 / 240)


def test_blocked_at_the_bottom_counts_as_the_first_ground_in_view() -> None:
    calibration = Calibration.pinhole(320, 240, 60.0)
    reader = FreeSpaceReader(CITYSCAPES, 'road', Camera(calibration, CameraPose(1.5)))
    one_row, none = reader.read(street(238)).metres, reader.read(street(239)).metres
    assert one_row is not None
    assert none is not None
    assert float(np.abs(one_row - none).max()) < 0.1


def test_unlabelled_ends_are_unknown() -> None:
    labels = street(159)
    labels[150:160, :160] = 255
    ends = FreeSpaceReader(CITYSCAPES, 'road', Camera()).read(labels)
    assert ends.metres is None
    assert np.isnan(ends.rows[:60]).all()
    assert np.allclose(ends.rows[68:], 80 / 240)


def test_without_a_blocker_all_is_free() -> None:
    ends = FreeSpaceReader(CITYSCAPES, 'road', Camera()).read(np.zeros((24, 32), np.uint8))
    assert np.isinf(ends.rows).all()
    metric = FreeSpaceMetric(ROWS)
    metric.update(ends.rows, ends.rows)
    assert metric.compute().false_free == 0.0


def test_a_group_that_the_class_map_does_not_have() -> None:
    with pytest.raises(ClassMapError, match="no class 'water'"):
        FreeSpaceReader(CITYSCAPES, 'water', Camera())


def seen_pixel(calibration: Calibration, pose: CameraPose, ahead: float, left: float) -> int:
    """The pixel that shows a point on the ground, -1 for none: each step written out.

    The point is given from the foot of the camera, `ahead` along its view.
    """
    # Forward, left and up of the camera's view, before it pitches and rolls.
    right, up, forward = -left, -pose.height, ahead
    # Undo the pitch (looking down by it), then the roll (right side down by it).
    cos, sin = math.cos(pose.pitch), math.sin(pose.pitch)
    forward, up = cos * forward - sin * up, sin * forward + cos * up
    cos, sin = math.cos(pose.roll), math.sin(pose.roll)
    right, up = cos * right - sin * up, sin * right + cos * up
    if forward <= 0:
        return -1
    x, y = right / forward, -up / forward
    if calibration.distortion:
        k1, k2, p1, p2 = calibration.distortion
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2 * r2
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )
    column = math.floor(calibration.fx * x + calibration.cx + 0.5)
    row = math.floor(calibration.fy * y + calibration.cy + 0.5)
    inside = 0 <= column < calibration.width and 0 <= row < calibration.height
    return row * calibration.width + column if inside else -1


def cells_of(grid: CellGrid) -> list[tuple[float, float]]:
    """Centres of the cells, ahead and to the left."""
    return [
        (grid.near + (i + 0.5) * grid.cell, grid.side - (j + 0.5) * grid.cell)
        for i in range(round((grid.far - grid.near) / grid.cell))
        for j in range(round(2 * grid.side / grid.cell))
    ]


@pytest.mark.parametrize('calibration', [CAMERA, LENS])
@pytest.mark.parametrize('pose', [LEVEL, TILTED, BACKWARDS])
def test_each_cell_has_the_pixel_that_shows_it(calibration: Calibration, pose: CameraPose) -> None:
    pixels = [seen_pixel(calibration, pose, *cell) for cell in cells_of(COARSE)]
    expected = [pixel for pixel in pixels if pixel >= 0]
    assert len(expected) > 200
    np.testing.assert_array_equal(cell_pixels(calibration, pose, COARSE), expected)


def painted(seed: int) -> np.ndarray:
    """Road with blocks of other classes and some void, (240, 320)."""
    rng = np.random.default_rng(seed)
    blocks = rng.choice([ROAD, ROAD, SIDEWALK, CAR, 255], (24, 32)).astype(np.uint8)
    return blocks.repeat(10, axis=0).repeat(10, axis=1)


@pytest.mark.parametrize('pose', [LEVEL, TILTED])
@pytest.mark.parametrize('group', ['road', 'road+sidewalk'])
def test_scores_are_those_of_counting_cell_by_cell(pose: CameraPose, group: str) -> None:
    truth, mask = painted(1), painted(2)
    confidence = np.random.default_rng(3).integers(0, 256, truth.shape).astype(np.uint8)
    metric = GroundOverlap(COARSE)
    found = GroundCells(CITYSCAPES, group, Camera(CAMERA, pose), COARSE).read(
        truth, mask, confidence
    )
    assert found is not None
    metric.update(*found)
    scores = metric.compute()

    drivable = {ROAD, SIDEWALK} if group == 'road+sidewalk' else {ROAD}
    ranked: list[tuple[float, bool, bool]] = []  # how drivable it seems, mask, truth
    for cell in cells_of(COARSE):
        pixel = seen_pixel(CAMERA, pose, *cell)
        if pixel < 0 or truth.flat[pixel] == 255:
            continue
        free = int(mask.flat[pixel]) in drivable
        sure = int(confidence.flat[pixel])
        seems = 1 + sure if free else -1 - sure
        ranked.append((seems, free, int(truth.flat[pixel]) in drivable))

    def f1(hits: int, wrong: int, missed: int) -> float:
        return 2 * hits / (2 * hits + wrong + missed)

    hits = sum(free and true for _, free, true in ranked)
    wrong = sum(free and not true for _, free, true in ranked)
    missed = sum(true and not free for _, free, true in ranked)
    assert scores.cells == len(ranked)
    assert scores.precision == hits / (hits + wrong)
    assert scores.recall == hits / (hits + missed)
    assert scores.f1 == f1(hits, wrong, missed)
    assert scores.iou == hits / (hits + wrong + missed)
    best = max(
        f1(
            sum(true for seems, _, true in ranked if seems >= level),
            sum(not true for seems, _, true in ranked if seems >= level),
            sum(true for seems, _, true in ranked if seems < level),
        )
        for level in {seems for seems, _, _ in ranked}
    )
    assert scores.max_f == best >= scores.f1


def test_the_grid_is_that_of_the_kitti_road_benchmark() -> None:
    ahead, left = KITTI_ROAD.centres()
    assert len(ahead) == 800 * 400
    assert ahead.min() == pytest.approx(6.025) and ahead.max() == pytest.approx(45.975)
    assert left.max() == pytest.approx(9.975) and left.min() == pytest.approx(-9.975)


def test_a_perfect_mask_and_an_empty_one() -> None:
    truth = painted(1)
    cells = GroundCells(CITYSCAPES, 'road', Camera(CAMERA, LEVEL))
    for mask, share in ((truth, 1.0), (np.full_like(truth, CAR), 0.0)):
        metric = GroundOverlap()
        found = cells.read(truth, mask)
        assert found is not None
        metric.update(*found)
        scores = metric.compute()
        assert scores.f1 == scores.recall == scores.iou == share


def test_masks_of_another_size_have_the_same_ground() -> None:
    truth = painted(1)
    half = truth[::2, ::2]
    cells = GroundCells(CITYSCAPES, 'road', Camera(CAMERA, LEVEL), COARSE)
    shares = []
    for labels in (truth, half):
        found = cells.read(labels, labels)
        assert found is not None
        shares.append(found[0].mean())
    assert shares[0] == pytest.approx(shares[1], abs=0.05)


def test_without_a_camera_or_the_group_there_is_nothing() -> None:
    labels = painted(1)
    assert GroundCells(CITYSCAPES, 'road', Camera(CAMERA)).read(labels, labels) is None
    assert math.isnan(GroundOverlap().compute().max_f)
    with pytest.raises(ClassMapError, match='lava'):
        GroundCells(CITYSCAPES, 'lava', Camera())


def test_merging_cells_equals_counting_together() -> None:
    whole, parts = GroundOverlap(), [GroundOverlap() for _ in range(2)]
    rng = np.random.default_rng(1)
    for part in parts:
        cells = rng.integers(0, 2, 500).astype(bool), rng.integers(0, 512, 500).astype(np.uint16)
        whole.update(*cells)
        part.update(*cells)
    parts[0].merge(parts[1].counts)
    np.testing.assert_array_equal(parts[0].counts, whole.counts)
