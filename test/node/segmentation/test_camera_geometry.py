# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Metres only where they are known: calibration, and the pose from parameters or TF."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import tf2_stand_in
from diagnostic_msgs.msg import DiagnosticStatus
from drivable_rig import AREA, area_of, assert_nothing_known, forward, start
from geometry_msgs.msg import TransformStamped
from node_rig import HEIGHT, MASK, WIDTH, MakeRig, Rig, camera_info, street_image
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from segformer_ros.camera import calibration_from_camera_info
from segformer_ros.frame import Frame, Stamp
from segformer_ros.node.drivable_settings import DrivableSettings, MountSettings
from segformer_ros.node.segmentation import transforms
from segformer_ros.node.segmentation.camera_geometry import (
    CameraGeometry,
    CameraInfoReading,
    Geometry,
)
from segformer_ros.node.segmentation.drivable_output import DrivableOutput
from segformer_ros.node.segmentation.transforms import TransformSource

pytestmark = pytest.mark.ros


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
    rig.calibrate(info)
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
    rig = make_rig(drivable__use_tf=False)
    rig.start(AREA)
    assert 'no camera_info has come' in area_of(rig).reason
    rig.calibrate(camera_info())
    assert "the camera's height over the ground is not known" in area_of(rig).reason
    rig.set(mount__height=1.5)
    assert area_of(rig).calibrated


def test_changed_calibration_is_taken_up(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    before = forward(area_of(rig))
    info = camera_info()
    info.k[0] = info.k[4] = 300.0
    rig.calibrate(info)
    after = forward(area_of(rig))
    near = np.isfinite(before) & (before > 0) & (before < 15)
    assert near.any()
    np.testing.assert_allclose(after[near] / before[near], 2.0, rtol=0.02)


def geometry_of(
    topic: str = '/cam/image',
    info: CameraInfo | None = None,
    said: list[str] | None = None,
    transforms: TransformSource | None = None,
    **mount: float,
) -> Geometry:
    """Geometry of a frame of a topic, with a mount of 1.5 m; what is said twice is a fault."""
    words: list[str] = []
    geometry = CameraGeometry(transforms, topic, words.append)
    geometry.receive(info or camera_info())
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame = Frame.from_array(pixels, 'bgr8', Stamp(5, 0), 'camera')
    settings, place = DrivableSettings(), MountSettings(**{'height': 1.5, **mount})
    for _ in range(3):
        found = geometry.at(frame, geometry.newest, settings, place)
    assert found is not None
    assert len(words) == len(set(words))
    if said is not None:
        said += words
    return found


@pytest.mark.parametrize(
    ('topic', 'rectified'),
    [('/cam/image_rect', True), ('/cam/image_rect_color/compressed', True), ('/cam/image', False)],
)
def test_rectified_topics_are_known_as_in_recordings(topic: str, rectified: bool) -> None:
    """The camera_info beside them is that of the raw camera."""
    info = camera_info()
    info.d = [-0.35, 0.12, 0.0, 0.0, 0.0]
    info.p[0] = info.p[5] = 120.0
    calibration = geometry_of(topic, info).calibration
    assert calibration is not None
    assert (calibration.model == 'none') == rectified
    assert calibration.fx == (120.0 if rectified else 150.0)


def test_camera_that_is_not_upright_is_warned_of_once() -> None:
    said: list[str] = []
    assert geometry_of(said=said).pose is not None
    assert said == []
    assert geometry_of(said=said, roll=3.14).pose is not None
    assert len(said) == 1
    assert 'mounted upside down (roll 180 degrees)' in said[0]


def tf_until(rig_stamp_ns: int, *offsets: float) -> TransformSource:
    """TF that has placed the camera 2 m high, at seconds after a stamp."""
    source = TransformSource(tf2_stand_in.Buffer(), (tf2_stand_in.TransformException,))
    hear(source, rig_stamp_ns, *offsets)
    return source


def hear(source: TransformSource, stamp_ns: int, *offsets: float) -> None:
    """Let TF place the camera at seconds after a stamp."""
    for offset in offsets:
        message = TransformStamped(child_frame_id='camera_optical')
        message.header.frame_id = 'base_link'
        message.header.stamp = Time(nanoseconds=stamp_ns + round(offset * 1e9)).to_msg()
        message.transform.translation.z = 2.0
        rotation = message.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = -0.5, 0.5, -0.5, 0.5
        source.buffer.set_transform(message, 'test')


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Callable[[TransformSource], None]:
    """Let nodes listen to this TF."""

    def to(source: TransformSource) -> None:
        monkeypatch.setattr(transforms, 'listen_to_tf', lambda node: source)

    return to


Listen = Callable[[TransformSource], None]


def told(rig: Rig) -> str:
    """Where the camera's pose comes from, by the newest diagnostics."""
    return {value.key: value.value for value in rig.status().values}['camera pose from']


@pytest.mark.parametrize(
    ('offsets', 'words'),
    [
        ((-1, 1), ''),
        ((-60, -30), 'extrapolation into the future'),
        ((30, 60), 'extrapolation into the past'),
        ((), 'does not exist'),
    ],
)
@pytest.mark.parametrize('height', [1.5, 0.0])
def test_pose_from_tf_else_from_the_parameters_else_none(
    make_rig: MakeRig, listen: Listen, offsets: tuple[float, ...], words: str, height: float
) -> None:
    stamp = time.time_ns()
    listen(tf_until(stamp, *offsets))
    rig = start(make_rig, mount__height=height)
    area = area_of(rig, street_image(Time(nanoseconds=stamp).to_msg()))
    assert area.valid
    assert area.calibrated is (words == '' or height > 0)
    if not area.calibrated:
        assert words in area.reason
        assert 'camera_optical to base_link' in area.reason
        assert 'give the mount as parameters' in area.reason
    source = '' if not area.calibrated else 'parameters' if words else 'tf'
    assert area.pose_source == source
    begin = {'': 'not known', 'parameters': 'the mount', 'tf': 'TF'}[source]
    assert rig.spin_until(lambda: told(rig).startswith(begin))
    if source == 'parameters':
        assert words in told(rig)


def test_a_pose_that_is_no_longer_tf_s_is_a_warning(make_rig: MakeRig, listen: Listen) -> None:
    stamp = time.time_ns()
    source = tf_until(stamp, -1, 1)
    listen(source)
    rig = start(make_rig)
    assert area_of(rig, street_image(Time(nanoseconds=stamp).to_msg())).pose_source == 'tf'
    assert rig.spin_until(lambda: rig.status().level == DiagnosticStatus.OK)
    source.buffer.clear()
    assert area_of(rig).pose_source == 'parameters'
    words = "the camera's pose comes from the mount parameters, no longer from TF"
    assert rig.spin_until(lambda: words in rig.status().message)
    assert rig.status().level == DiagnosticStatus.WARN


def test_a_transform_that_fits_no_camera_is_not_replaced_by_parameters(
    make_rig: MakeRig, listen: Listen
) -> None:
    source = tf_until(time.time_ns())
    message = TransformStamped(child_frame_id='camera_optical')
    message.header.frame_id = 'base_link'
    message.transform.translation.z = -0.3
    message.transform.rotation.w = 1.0
    source.buffer.set_transform_static(message, 'test')
    listen(source)
    area = area_of(start(make_rig))
    assert (area.calibrated, area.pose_source) == (False, '')


# --- Transforms that come late -------------------------------------------------------------------


def let_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame's wait is over by the clock: a busy machine may take longer than it."""
    locate = DrivableOutput.locate
    monkeypatch.setattr(DrivableOutput, 'locate', lambda self, task, _: locate(self, task, 0.0))


def test_the_mask_goes_out_and_the_metres_follow_with_their_transform(
    make_rig: MakeRig, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_wait_for_ever(monkeypatch)
    stamps = [time.time_ns() + index * 33_000_000 for index in range(3)]
    source = tf_until(stamps[0], -0.1)
    listen(source)
    rig = start(make_rig)
    rig.subscribe(MASK, 'segmentation/overlay')
    for stamp in stamps:
        rig.deliver(street_image(Time(nanoseconds=stamp).to_msg()))
        assert rig.spin_until(lambda: rig.counts().pending == 0)
    assert rig.spin_until(lambda: len(rig.received[MASK]) == 3)
    assert rig.received[AREA] == rig.received['segmentation/overlay'] == []
    hear(source, stamps[1], 0.001)
    assert rig.spin_until(lambda: len(rig.received[AREA]) == 2)
    hear(source, stamps[2], 0.1)
    assert rig.spin_until(lambda: len(rig.received[AREA]) == 3)
    assert rig.spin_until(lambda: len(rig.received['segmentation/overlay']) == 3)
    came = [
        area.header.stamp.sec * 10**9 + area.header.stamp.nanosec for area in rig.received[AREA]
    ]
    assert came == stamps
    assert {(area.calibrated, area.pose_source) for area in rig.received[AREA]} == {(True, 'tf')}


@pytest.mark.parametrize('height', [0.0, 1.5])
def test_the_wait_has_an_end_that_is_named(
    make_rig: MakeRig, listen: Listen, height: float
) -> None:
    stamp = time.time_ns()
    listen(tf_until(stamp, -0.5))
    rig = start(make_rig, mount__height=height, drivable__tf_timeout=0.05)
    area = area_of(rig, street_image(Time(nanoseconds=stamp).to_msg()))
    assert (area.valid, area.pose_source) == (True, 'parameters' if height else '')
    words = 'until drivable.tf_timeout (0.05 s)'
    if height:
        assert rig.spin_until(lambda: words in told(rig))
    else:
        assert words in area.reason


def test_no_wait_is_longer_than_an_image_may_be_old(
    make_rig: MakeRig, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_wait_for_ever(monkeypatch)
    stamp = time.time_ns()
    listen(tf_until(stamp, -0.5))
    rig = start(make_rig, mount__height=0.0, drivable__max_age=0.6)
    area = area_of(rig, street_image(Time(nanoseconds=stamp).to_msg()))
    assert 'drivable.max_age (0.6 s)' in area.reason


def test_an_area_that_became_too_old_says_what_it_waited_for(make_rig: MakeRig) -> None:
    rig = start(make_rig, mount__height=0.0, drivable__max_age=2.0, drivable__use_tf=False)
    area = area_of(rig, street_image(Time(seconds=int(time.time()) - 5).to_msg()))
    assert not area.valid
    assert 's old; at most 2 s' in area.reason
    assert "the camera's height over the ground is not known" in area.reason


def test_a_node_that_ends_waits_for_nothing(make_rig: MakeRig, listen: Listen) -> None:
    stamp = time.time_ns()
    listen(tf_until(stamp, -0.5))
    rig = start(make_rig, drivable__tf_timeout=1.0)
    rig.deliver(street_image(Time(nanoseconds=stamp).to_msg()))
    assert rig.spin_until(lambda: rig.counts().pending == 0)
    rig.node.release()
    assert not any(thread.name == 'late frames' for thread in threading.enumerate())


def test_vehicle_frame_off_the_ground_is_warned_of_once() -> None:
    said: list[str] = []
    source = tf_until(0)
    message = TransformStamped(child_frame_id='camera')
    message.header.frame_id = 'base_link'
    message.transform.translation.z = 2.0
    rotation = message.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = -0.5, 0.5, -0.5, 0.5
    source.buffer.set_transform_static(message, 'test')
    message = TransformStamped(child_frame_id='base_link')
    message.header.frame_id = 'base_footprint'
    message.transform.translation.z = 2.0
    source.buffer.set_transform_static(message, 'test')
    found = geometry_of(said=said, transforms=source)
    assert found.pose is not None and found.pose.height == 2.0
    assert len(said) == 1
    assert 'base_link is 2.00 m above base_footprint' in said[0]
    assert 'drivable.vehicle_frame' in said[0]


# --- What a camera_info says ---------------------------------------------------------------------

HEADER = Header(frame_id='camera')


def test_a_camera_info_is_read_when_it_differs_but_for_its_stamp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[CameraInfo] = []
    read = CameraInfoReading.of

    def counted(message: CameraInfo) -> CameraInfoReading:
        reads.append(message)
        return read(message)

    monkeypatch.setattr(CameraInfoReading, 'of', counted)
    geometry = CameraGeometry(None, '/cam/image', print)
    first, second, third = (camera_info() for _ in range(3))
    second.header.stamp.sec = 7
    third.k[0] = 300.0
    for message in (first, second):
        geometry.receive(message)
    assert geometry.newest is not None and geometry.newest.message is second
    assert reads == [first]
    geometry.receive(third)
    assert reads == [first, third]
    assert geometry.newest.calibration(False, HEIGHT, WIDTH).fx == 300.0


def test_camera_info_at_the_image_size_is_passed_on() -> None:
    info = camera_info(480, 640)
    resized = CameraInfoReading.of(info).resized(HEADER, 480, 640)
    assert resized.header is HEADER
    assert info.header.frame_id == ''
    np.testing.assert_array_equal(resized.k, info.k)


@pytest.mark.parametrize('size', [(240, 320), (100, 333)])
def test_resized_camera_info_sees_the_same_view(size: tuple[int, int]) -> None:
    info = camera_info(480, 640)
    info.binning_x, info.binning_y = 2, 2
    info.roi = RegionOfInterest(x_offset=40, y_offset=20, width=400, height=200)
    reading = CameraInfoReading.of(info)
    assert reading.size == (200, 100)
    resized = calibration_from_camera_info(reading.resized(HEADER, *size))
    expected = calibration_from_camera_info(info).scaled(size[1], size[0])
    for name in ('width', 'height', 'fx', 'fy', 'cx', 'cy'):
        assert getattr(resized, name) == pytest.approx(getattr(expected, name)), name


def test_resized_projection_keeps_the_stereo_baseline_in_metres() -> None:
    info = camera_info(480, 640)
    info.p[3] = -30.0
    resized = CameraInfoReading.of(info).resized(HEADER, 240, 320)
    assert resized.p[3] / resized.p[0] == pytest.approx(info.p[3] / info.p[0])


def test_empty_camera_info_fits_no_image() -> None:
    assert CameraInfoReading.of(CameraInfo()).size != (640, 480)
