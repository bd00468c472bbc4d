# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The drivable area of the node: its metres, and never a stale 'free'."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from drivable_rig import AREA, GRID, SCAN, area_of, assert_nothing_known, forward, start
from node_rig import (
    CITYSCAPES,
    HEIGHT,
    WIDTH,
    MakeRig,
    Rig,
    image,
    painted,
    pixels_of,
    street_image,
    street_labels,
)
from std_msgs.msg import Header

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.drivable import (
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    GridConfig,
)
from segformer_ros.engines import Wanted
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame, Stamp
from segformer_ros.msg import DrivableArea as AreaMessage
from segformer_ros.node.segmentation.drivable_output import (
    area_message,
    blank_grid,
    grid_message,
)
from segformer_ros.node.segmentation.segmentation_node import WATCH_PERIOD

pytestmark = pytest.mark.ros


def wait_for_invalid(rig: Rig, since: int) -> AreaMessage:
    """Return the first invalid area after the first `since` messages."""

    def invalid() -> list[AreaMessage]:
        return [area for area in rig.received[AREA][since:] if not area.valid]

    assert rig.spin_until(lambda: bool(invalid()))
    return invalid()[0]


def test_calibrated_camera_gives_metres(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    area = area_of(rig)
    assert (area.valid, area.calibrated, area.reason) == (True, True, '')
    assert area.vehicle_frame == 'base_link'
    assert len(area.column) == len(area.free_distance) == len(area.distance_sigma) == 128
    # The car's lowest pixel is at 3/4 of the height: 1.5 m * 150 px / 24 px under the horizon.
    car = forward(area)[np.array(area.blocking_class) == CITYSCAPES.ids('car')[0]]
    assert np.median(car) == pytest.approx(9.4, abs=0.6)
    assert area.corridor_width == 2.0
    assert 0 < area.age.nanosec < 400_000_000


def test_grid_and_scan_agree_with_the_area(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    area_of(rig)
    assert rig.spin_until(lambda: bool(rig.received[SCAN]))
    cells = np.array(rig.received[GRID][-1].data)
    assert {0, 100, -1} <= set(cells.tolist())
    ranges = np.array(rig.received[SCAN][-1].ranges)
    assert 9.0 < np.nanmin(ranges) < 11.0


def test_mask_of_another_size_gives_the_same_metres(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    full = np.array(area_of(rig).free_distance)
    rig.set(mask_width=2 * WIDTH)
    double = np.array(area_of(rig).free_distance)
    near = np.isfinite(full) & (full < 15) & np.isfinite(double)
    assert near.any()
    np.testing.assert_allclose(double[near], full[near], rtol=0.15)


def test_changed_parameters_are_taken_up(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    assert area_of(rig).corridor_width == 2.0
    rig.set(drivable__columns=32, drivable__vehicle_width=3.0)
    area = area_of(rig)
    assert len(area.column) == 32
    assert area.corridor_width == 3.0


def test_silent_camera_is_told_in_time(make_rig: MakeRig) -> None:
    rig = start(make_rig, drivable__max_age=0.3)
    while not (valid := area_of(rig)).valid:
        pass
    count = len(rig.received[AREA])
    invalid = wait_for_invalid(rig, count)
    age = invalid.age.sec + invalid.age.nanosec * 1e-9
    busy = 0.3 + 4 * rig.longest_turn
    assert 0.3 < age < 0.3 + WATCH_PERIOD + busy, 'max_age, one look, and a busy machine'
    # Which of the two is noticed first depends on how long the image was under way.
    assert 'the camera is silent' in invalid.reason or ' s old; at most' in invalid.reason
    assert invalid.header == valid.header
    assert len(invalid.free_distance) == len(invalid.column) == 0
    assert_nothing_known(rig)
    rig.set(drivable__max_age=60.0)
    assert area_of(rig).valid


def test_camera_that_never_came(make_rig: MakeRig) -> None:
    rig = make_rig(drivable__max_age=0.2)
    rig.start(AREA)
    area = wait_for_invalid(rig, 0)
    assert 'no image has come from the camera' in area.reason


@pytest.mark.parametrize(
    ('seconds', 'words'),
    [
        (-0.7, ' s old; at most 0.5 s'),
        (1000.0, 'in the future'),
    ],
)
def test_stamps_out_of_time_are_not_valid(make_rig: MakeRig, seconds: float, words: str) -> None:
    rig = start(make_rig, drivable__max_age=0.5)
    stamp = rig.probe.get_clock().now().nanoseconds + round(seconds * 1e9)
    area = area_of(rig, street_image(Time(sec=stamp // 10**9, nanosec=stamp % 10**9)))
    assert not area.valid
    assert words in area.reason
    assert len(area.free_distance) == 0


def test_slow_engine_does_not_leave_free_standing(make_rig: MakeRig) -> None:
    rig = start(make_rig, fake_delay=0.5, drivable__max_age=0.3)
    for _ in range(8):
        rig.send(street_image(rig.now()))
        rig.spin(0.1)
    assert rig.spin_until(lambda: len(rig.received[AREA]) > 1)
    assert not any(area.valid for area in rig.received[AREA])
    assert any(' s old; at most 0.3 s' in area.reason for area in rig.received[AREA])


def test_failed_engine(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FakeEngine, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> None:
        raise RuntimeError('device lost')

    rig = start(make_rig)
    assert area_of(rig).valid
    rig.set(drivable__max_age=0.3)
    monkeypatch.setattr(FakeEngine, 'start', broken)
    count = len(rig.received[AREA])
    for _ in range(8):
        rig.send(street_image(rig.now()))
        rig.spin(0.1)
    reason = 'the engine failed: 3 frames failed in a row: RuntimeError: device lost'
    areas = rig.received[AREA]
    assert rig.spin_until(lambda: any(area.reason == reason for area in areas[count:]))
    assert not any(area.valid for area in rig.received[AREA][count:])


def test_disabled_node(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    assert area_of(rig).valid
    rig.set(enabled=False, drivable__max_age=0.2)
    area = wait_for_invalid(rig, len(rig.received[AREA]))
    assert area.reason == 'segmentation is disabled: enabled is false'


def test_deactivated_node(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    assert area_of(rig).valid
    rig.node.trigger_deactivate()
    area = wait_for_invalid(rig, 0)
    assert area.reason == 'the node was deactivated'


@pytest.mark.parametrize('end', ['trigger_shutdown', 'release'])
def test_a_node_that_ends_takes_its_area_back(make_rig: MakeRig, end: str) -> None:
    rig = start(make_rig)
    assert area_of(rig).valid
    getattr(rig.node, end)()
    assert wait_for_invalid(rig, 0).reason == 'the node was shut down'


def test_a_frame_on_its_way_does_not_undo_what_was_taken_back(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = start(make_rig)
    assert area_of(rig).valid
    received = rig.received[AREA]
    count = len(received)
    output = rig.node._streams[0].drivable
    estimate = output.estimate

    def held_up(*frame: Any) -> Any:
        """Between the engine and the publishers, until the node is deactivated."""
        rig.node.trigger_deactivate()
        return estimate(*frame)

    monkeypatch.setattr(output, 'estimate', held_up)
    rig.deliver(street_image(rig.now()))
    assert rig.spin_until(lambda: len(received) > count)
    rig.spin(1.0)
    assert [area.reason for area in received[count:]] == ['the node was deactivated']


@pytest.mark.parametrize(('label', 'distance'), [(10, 0.0), (0, math.inf)])
def test_pure_sky_is_blocked_and_pure_road_is_free(
    make_rig: MakeRig, label: int, distance: float
) -> None:
    rig = start(make_rig)
    pixels = painted(np.full((HEIGHT, WIDTH), label, np.uint8))
    area = area_of(rig, image(pixels, rig.now()))
    assert area.valid
    assert area.calibrated
    assert set(area.free_distance) == {distance}
    assert area.corridor_distance == distance


def test_boundary_is_drawn_into_the_overlay(make_rig: MakeRig) -> None:
    rig = make_rig(overlay_opacity=0.0)
    rig.start('segmentation/overlay')
    message = street_image(rig.now())
    plain = pixels_of(rig.segment(message, 'segmentation/overlay'))
    np.testing.assert_array_equal(plain, pixels_of(message))
    rig.set(overlay_boundary=True)
    drawn = pixels_of(rig.segment(message, 'segmentation/overlay'))
    changed = (drawn != plain).any(axis=2)
    assert changed[HEIGHT // 2 - 2 :].any()
    assert not changed[: HEIGHT // 2 - 4].any()


def test_diagnostics_are_not_well_while_every_area_is_too_old(make_rig: MakeRig) -> None:
    rig = start(make_rig, fake_delay=0.3, drivable__max_age=0.1)
    for _ in range(4):
        assert not area_of(rig).valid
    status = rig.status()
    assert status.level == DiagnosticStatus.WARN
    assert 'drivable areas were not valid in the last 10 s: the image is ' in status.message
    assert 'drivable.max_age' in status.message


def test_a_slow_engine_between_whose_frames_areas_lapse_is_not_well(make_rig: MakeRig) -> None:
    """Each area is valid as it is published, and taken back before the next one comes."""
    rig = start(make_rig, fake_delay=0.4, drivable__max_age=0.6)
    end = time.monotonic() + 4
    while time.monotonic() < end:
        rig.send(street_image(rig.now()))
        rig.spin(0.05)
    valid = {area.valid for area in rig.received[AREA]}
    if valid == {True, False}:
        assert rig.status().level == DiagnosticStatus.WARN


def test_a_start_without_a_camera_leaves_no_warning(make_rig: MakeRig) -> None:
    rig = start(make_rig, drivable__max_age=0.2)
    rig.spin(1.0)
    rig.set(drivable__max_age=60.0)
    for _ in range(3):
        area_of(rig)
    assert 'not valid' not in rig.status().message


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
