"""Filling the drivable area's messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from node_rig import CITYSCAPES, street_labels
from std_msgs.msg import Header

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.drivable import (
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    GridConfig,
)
from segformer_ros.frame import Stamp
from segformer_ros.node.drivable_messages import (
    area_message,
    blank_grid,
    grid_message,
)

pytestmark = pytest.mark.ros

HEADER = Header(frame_id='camera')
POSE = CameraPose(height=1.5)


@pytest.fixture(scope='module')
def estimator() -> DrivableAreaEstimator:
    return DrivableAreaEstimator(DrivableConfig(), CITYSCAPES)


def test_metres_only_with_calibration(estimator: DrivableAreaEstimator) -> None:
    labels = street_labels()
    area = estimator.update(labels, None, None, None)
    message = area_message(HEADER, area, 0.02, 'base_link')
    assert message.valid
    assert not message.calibrated
    assert len(message.column) == len(message.boundary_row) == 128
    assert len(message.free_distance) == len(message.bearing) == 0
    assert math.isnan(message.corridor_distance)
    assert message.image_width == labels.shape[1]


def test_all_columns_are_carried_over(estimator: DrivableAreaEstimator) -> None:
    labels = street_labels()
    camera = Calibration.pinhole(labels.shape[1], labels.shape[0], 60)
    area = estimator.update(labels, None, camera, POSE)
    message = area_message(HEADER, area, 1.25, 'base_link')
    assert message.calibrated
    np.testing.assert_array_equal(np.array(message.free_distance), area.free_distance)
    np.testing.assert_array_equal(np.array(message.boundary_row), area.boundary_row)
    assert CITYSCAPES.ids('car')[0] in message.blocking_class
    assert message.road_fraction == pytest.approx((labels == 0).mean())
    assert (message.age.sec, message.age.nanosec) == (1, 250_000_000)
    assert message.header is HEADER


@pytest.mark.parametrize('age', [-0.5, 1e12, -1e12])
def test_any_age_fits_the_message(age: float) -> None:
    message = area_message(HEADER, DrivableArea.invalid(Stamp(), 'no'), age, 'base_link')
    seconds = message.age.sec + message.age.nanosec * 1e-9
    assert seconds == pytest.approx(max(-(2**31), min(2**31, age)), rel=1e-6)
    assert (message.valid, message.reason) == (False, 'no')


def test_grid_has_its_origin_and_orientation(estimator: DrivableAreaEstimator) -> None:
    labels = street_labels()
    camera = Calibration.pinhole(labels.shape[1], labels.shape[0], 60)
    numbers = estimator.grid(estimator.update(labels, None, camera, POSE))
    assert numbers
    message = grid_message(HEADER, numbers)
    assert (message.info.height, message.info.width) == numbers.cells.shape
    assert message.info.origin.position.y == -15.0
    assert message.info.origin.orientation.w == 1.0
    cells = np.array(message.data).reshape(numbers.cells.shape)
    np.testing.assert_array_equal(cells, numbers.cells)
    assert set(np.unique(cells)) == {-1, 0, 100}


def test_blank_grid_knows_nothing() -> None:
    grid = grid_message(HEADER, blank_grid(GridConfig()))
    assert set(grid.data) == {-1}
