# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The reporter: what diagnostics say of a camera that loses frames or is silent."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from node_rig import MASK, MakeRig, street_image
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from segformer_ros.node.segmentation.reporter import LASTING, StatusLog

pytestmark = pytest.mark.ros


def test_lost_frames_are_noticed_with_the_cure(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    for _ in range(7):
        rig.deliver(street_image(rig.now()))
    rig.node._streams[0]._on_lost(SimpleNamespace(total_count=3))
    status = rig.status()
    assert status.level == status.WARN
    assert '3 of 10 frames were lost on the way here' in status.message
    assert 'config/fastdds.xml' in status.message


def test_a_driver_that_skips_frames_is_noticed(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    for tick in range(30):
        if tick not in (15, 16, 22):
            rig.deliver(street_image(Time(sec=100, nanosec=tick * 33_000_000)))
    assert rig.counts().received == 27
    status = rig.status()
    assert status.level == status.WARN
    assert 'the camera driver did not send 3 of 30 frames' in status.message
    assert 'fastdds' not in status.message


def test_silent_camera_is_stale(make_rig: MakeRig) -> None:
    rig = make_rig(silent_after=60.0)
    rig.start(MASK, '/diagnostics')
    status = rig.status()
    assert status.level == status.STALE
    assert f'nobody publishes on {rig.node.get_namespace()}/image' in status.message
    rig.segment(street_image(rig.now()))
    assert rig.status().level == status.OK
    rig.set(silent_after=0.5)
    rig.spin(0.7)
    assert 'silent: the last image' in rig.status().message


@pytest.mark.parametrize(
    ('compressed', 'published', 'cure'),
    [
        (False, CompressedImage, 'set compressed to true'),
        (True, Image, 'set compressed to false'),
        (False, CameraInfo, 'remap image to another'),
    ],
)
def test_a_publisher_of_another_type_is_named(
    make_rig: MakeRig, compressed: bool, published: type, cure: str
) -> None:
    rig = make_rig(compressed=compressed)
    rig.start(MASK, '/diagnostics')
    # Of another participant: one alone has a topic of one type only.
    context = rclpy.Context()
    context.init()
    other = rclpy.create_node('other', context=context, namespace=rig.node.get_namespace())
    other.create_publisher(published, 'image', 1)
    words = f'/image is published as sensor_msgs/msg/{published.__name__}, not as sensor_msgs/msg/'
    assert rig.spin_until(lambda: words in rig.status().message)
    assert rig.status().message.endswith(cure)
    assert rig.status().level == DiagnosticStatus.STALE
    other.destroy_node()
    context.try_shutdown()


def test_diagnostics_come_while_simulated_time_stands_still(make_rig: MakeRig) -> None:
    rig = make_rig(use_sim_time=True)
    rig.start('/diagnostics')
    assert rig.status('engine').message


OK, WARN, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.STALE


class Logger:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, line: str) -> None:
        self.lines.append(f'warning {line}')

    def info(self, line: str) -> None:
        self.lines.append(f'info {line}')


class Course:
    """A node's statuses over time, and the log."""

    def __init__(self) -> None:
        self.now = 0.0
        self.logger = Logger()
        self.log = StatusLog(self.logger, lambda: self.now)

    def run(self, level: bytes, message: str, seconds: float, name: str = 'camera') -> list[str]:
        """The same status for so long; the lines that were told meanwhile."""
        before = len(self.logger.lines)
        end = self.now + seconds
        while self.now < end:
            self.now += 0.5
            self.log.note(
                [DiagnosticStatus(level=level, name=f'/ns/node: {name}', message=message)]
            )
        return self.logger.lines[before:]


@pytest.fixture
def course() -> Course:
    return Course()


def test_what_stays_wrong_is_told_once_and_so_is_its_end(course: Course) -> None:
    assert course.run(STALE, 'nobody publishes', 60) == ['warning camera: nobody publishes']
    assert course.run(OK, 'segmenting', 60) == ['info camera: segmenting']
    assert course.run(STALE, 'silent', 60) == ['warning camera: silent']


def test_a_node_that_waits_for_its_camera_for_a_moment_is_silent(course: Course) -> None:
    assert course.run(STALE, 'nobody publishes', LASTING - 1) == []
    assert course.run(OK, 'segmenting', 60) == []


def test_what_flickers_is_not_told_again(course: Course) -> None:
    course.run(WARN, 'frames were lost', 10)
    for _ in range(5):
        assert course.run(OK, 'segmenting', 2) == []
        assert course.run(WARN, 'frames were lost', 2) == []


def test_another_kind_of_wrong_is_told_too(course: Course) -> None:
    course.run(STALE, 'silent', 10)
    assert course.run(WARN, 'without metres', 10) == ['warning camera: without metres']
    assert course.run(OK, 'segmenting', 10) == ['info camera: segmenting']


def test_cameras_are_told_of_one_by_one(course: Course) -> None:
    course.run(STALE, 'silent', 10, 'camera front')
    assert course.run(STALE, 'silent', 10, 'camera rear') == ['warning camera rear: silent']


def test_forgotten_is_as_if_new(course: Course) -> None:
    course.run(STALE, 'silent', 10)
    course.log.forget()
    assert course.run(STALE, 'silent', LASTING - 1) == []
    assert course.run(STALE, 'silent', 10) == ['warning camera: silent']
