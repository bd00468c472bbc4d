"""The drivable area of the node: metres only where they are known, never a stale 'free'."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from node_rig import (
    CITYSCAPES,
    HEIGHT,
    WIDTH,
    Rig,
    camera_info,
    image,
    painted,
    pixels_of,
    street_image,
)
from sensor_msgs.msg import CameraInfo

from segformer_ros.engines import Wanted
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame
from segformer_ros.msg import DrivableArea
from segformer_ros.node import segmentation_node
from segformer_ros.node.segmentation_node import WATCH_PERIOD
from segformer_ros.node.transforms import TransformSource

pytestmark = pytest.mark.ros

MakeRig = Callable[..., Rig]
AREA = 'drivable_area'
GRID = 'drivable_area/grid'
SCAN = 'drivable_area/scan'


def start(make_rig: MakeRig, **parameters: Any) -> Rig:
    """Start a rig whose camera is calibrated and mounted 1.5 m high."""
    # A busy machine must not make frames too old for the tests that are not about age.
    rig = make_rig(**{'mount__height': 1.5, 'drivable__max_age': 5.0, **parameters})
    rig.start(AREA, GRID, SCAN, '/diagnostics')
    rig.send(camera_info(), 'camera_info')
    rig.spin(0.2)
    return rig


def area_of(rig: Rig, message: Any = None) -> DrivableArea:
    """Send an image and return its drivable area."""
    sent = message or street_image(rig.now())
    rig.send(sent)

    def mine() -> list[DrivableArea]:
        return [area for area in rig.received[AREA] if area.header.stamp == sent.header.stamp]

    assert rig.spin_until(lambda: bool(mine()))
    return mine()[0]


def wait_for_invalid(rig: Rig, since: int) -> DrivableArea:
    """Return the first invalid area after the first `since` messages."""

    def invalid() -> list[DrivableArea]:
        return [area for area in rig.received[AREA][since:] if not area.valid]

    assert rig.spin_until(lambda: bool(invalid()))
    return invalid()[0]


def assert_nothing_known(rig: Rig) -> None:
    """The newest grid and scan say nothing."""
    grids, scans = rig.received[GRID], rig.received[SCAN]
    assert rig.spin_until(lambda: bool(grids) and set(grids[-1].data) == {-1})
    assert rig.spin_until(lambda: bool(scans) and all(map(math.isnan, scans[-1].ranges)))


def forward(area: DrivableArea) -> np.ndarray:
    """Free distance along the vehicle's x axis, (N,) m."""
    return np.array(area.free_distance) * np.cos(np.array(area.bearing))


# --- Metres -----------------------------------------------------------------------------------


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


def zeros(info: CameraInfo) -> None:
    info.k = [0.0] * 9


def not_a_number(info: CameraInfo) -> None:
    info.k = [math.nan] * 9


def other_size(info: CameraInfo) -> None:
    info.width = 2 * WIDTH


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (zeros, 'K all zero: the camera is not calibrated'),
        (not_a_number, 'not finite'),
        (other_size, f'is for {2 * WIDTH}x{HEIGHT} images, but the image is {WIDTH}x{HEIGHT}'),
    ],
)
def test_wrong_camera_info_gives_no_metre(
    make_rig: MakeRig, spoil: Callable[[CameraInfo], None], words: str
) -> None:
    rig = start(make_rig)
    info = camera_info()
    spoil(info)
    rig.send(info, 'camera_info')
    rig.spin(0.2)
    area = area_of(rig)
    assert area.valid
    assert not area.calibrated
    assert words in area.reason
    assert len(area.free_distance) == 0
    assert math.isnan(area.corridor_distance)
    assert len(area.boundary_row) == 128
    assert_nothing_known(rig)
    assert words in rig.status().message


def test_without_camera_info_or_height(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(AREA)
    assert 'no camera_info has come' in area_of(rig).reason
    rig.send(camera_info(), 'camera_info')
    rig.spin(0.2)
    assert "the camera's height over the ground is not known" in area_of(rig).reason
    rig.set(mount__height=1.5)
    assert area_of(rig).calibrated


def test_changed_calibration_is_taken_up(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    before = forward(area_of(rig))
    info = camera_info()
    info.k[0] = info.k[4] = 300.0
    rig.send(info, 'camera_info')
    rig.spin(0.2)
    after = forward(area_of(rig))
    near = np.isfinite(before) & (before > 0) & (before < 15)
    assert near.any()
    np.testing.assert_allclose(after[near] / before[near], 2.0, rtol=0.02)


def test_changed_parameters_are_taken_up(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    assert area_of(rig).corridor_width == 2.0
    rig.set(drivable__columns=32, drivable__vehicle_width=3.0)
    area = area_of(rig)
    assert len(area.column) == 32
    assert area.corridor_width == 3.0


# --- TF ---------------------------------------------------------------------------------------


class TransformError(Exception):
    """Stands for tf2's TransformException."""


class Buffer:
    """Stands for tf2_ros.Buffer; `stamped` are the times in ns between which it knows TF."""

    def __init__(self, stamped: tuple[int, int]) -> None:
        self.stamped = stamped

    def lookup_transform(self, target: str, source: str, moment: Any) -> TransformStamped:
        if moment.nanoseconds > self.stamped[1]:
            raise TransformError('Lookup would require extrapolation into the future')
        if moment.nanoseconds < self.stamped[0]:
            raise TransformError('Lookup would require extrapolation into the past')
        message = TransformStamped()
        message.transform.translation.z = 2.0
        rotation = message.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = -0.5, 0.5, -0.5, 0.5
        return message


@pytest.mark.parametrize(
    ('offset', 'words'),
    [
        ((-60, 60), ''),
        ((-60, -30), 'extrapolation into the future'),
        ((30, 60), 'extrapolation into the past'),
    ],
)
def test_pose_from_tf_or_none(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, offset: tuple[int, int], words: str
) -> None:
    times = tuple(time.time_ns() + seconds * 10**9 for seconds in offset)
    source = TransformSource(Buffer((times[0], times[1])), (TransformError,))
    monkeypatch.setattr(segmentation_node, 'listen_to_tf', lambda node: source)
    rig = start(make_rig)
    area = area_of(rig)
    assert area.valid
    assert area.calibrated is (words == '')
    assert words in area.reason
    assert 'camera_optical to base_link' in area.reason or not words


# --- Never a stale 'free' ---------------------------------------------------------------------


def test_silent_camera_is_told_in_time(make_rig: MakeRig) -> None:
    rig = start(make_rig, drivable__max_age=0.3)
    while not (valid := area_of(rig)).valid:
        pass
    count = len(rig.received[AREA])
    invalid = wait_for_invalid(rig, count)
    age = invalid.age.sec + invalid.age.nanosec * 1e-9
    assert 0.3 < age < 0.3 + WATCH_PERIOD + 0.3, 'max_age, one look, and a busy machine'
    # Which of the two is noticed first depends on how long the image was under way.
    assert 'the camera is silent' in invalid.reason or ' s old; at most' in invalid.reason
    assert invalid.header == valid.header
    assert len(invalid.free_distance) == len(invalid.column) == 0
    assert_nothing_known(rig)
    rig.set(drivable__max_age=5.0)
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
        (3.0, 'in the future'),
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
    assert rig.received[AREA]
    assert not any(area.valid for area in rig.received[AREA])
    assert any(' s old; at most 0.3 s' in area.reason for area in rig.received[AREA])


def test_failed_engine(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FakeEngine, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> None:
        raise RuntimeError('device lost')

    rig = start(make_rig)
    assert area_of(rig).valid
    rig.set(drivable__max_age=0.3)
    monkeypatch.setattr(FakeEngine, 'segment', broken)
    count = len(rig.received[AREA])
    for _ in range(8):
        rig.send(street_image(rig.now()))
        rig.spin(0.1)
    rig.spin(0.6)
    reasons = [area.reason for area in rig.received[AREA][count:] if not area.valid]
    assert 'the engine failed: 3 frames failed in a row: RuntimeError: device lost' in reasons, (
        reasons
    )
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


# --- Pictures without a border ----------------------------------------------------------------


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
