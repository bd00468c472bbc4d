"""Free space: rates and errors by hand, and distances of a known camera."""

import math

import numpy as np
import pytest

from segformer_ros.camera import Calibration, Camera, CameraPose
from segformer_ros.classes import ClassMapError, load_class_map
from segformer_ros.metrics.free_space import METRES, ROWS, FreeSpaceMetric, FreeSpaceReader

CITYSCAPES = load_class_map('cityscapes')
ROAD, CAR, SKY = CITYSCAPES.ids('road', 'car', 'sky')
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
