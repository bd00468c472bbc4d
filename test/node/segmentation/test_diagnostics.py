# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Levels and words of the diagnostics."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from node_rig import MASK, MakeRig, street_image
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from segformer_ros.engines.supervisor import EngineState
from segformer_ros.measurement import Percentiles
from segformer_ros.node.segmentation.diagnostics import (
    ERROR,
    LASTING,
    OK,
    STALE,
    WARN,
    CameraState,
    StatusLog,
    camera_assessment,
    camera_status,
    engine_status,
    loss_cure,
)
from segformer_ros.node.segmentation.frame_task import FrameCounts
from segformer_ros.node.segmentation.losses import LossFigures
from segformer_ros.node.segmentation.statistics import CameraFigures
from segformer_ros.node.transport import shipped_profile

pytestmark = pytest.mark.ros

DIAGNOSTICS = 'segformer_ros.node.segmentation.diagnostics'
HEALTHY = CameraFigures(
    rate_in=30.0,
    rate_out=10.0,
    age=Percentiles(0.1, 0.2, 0.12),
    losses=LossFigures(0, 0, 0, by_stamps=False),
    recently_received=300,
    silence=0.03,
)
CAMERA = CameraState('front', '/front/image', 1, HEALTHY, FrameCounts(3, 1, 2), '', '')


def lost(count: int, skipped: int = 0, by_stamps: bool = False) -> LossFigures:
    """So many frames lost of late."""
    return LossFigures(count, count, skipped, by_stamps)


def test_healthy_camera() -> None:
    status = camera_status('/node', CAMERA, 2.0, 'cure')
    assert (status.level, status.message) == (OK, 'segmenting at 10.0 Hz')
    assert (status.name, status.hardware_id) == ('/node: camera front', 'front')
    values = {pair.key: pair.value for pair in status.values}
    assert values['age p99 (ms)'] == '200.0'
    assert (values['received'], values['segmented'], values['overtaken']) == ('3', '1', '2')


def test_figures_that_are_not_there_yet() -> None:
    figures = HEALTHY._replace(age=Percentiles(math.nan, math.nan, math.nan))
    status = camera_status('/node', CAMERA._replace(figures=figures, idle='idle'), 2.0, '')
    assert status.message == 'idle'
    assert {pair.key: pair.value for pair in status.values}['age p50 (ms)'] == 'nan'


@pytest.mark.parametrize(
    ('publishers', 'silence', 'words'),
    [
        (0, None, 'nobody publishes on /front/image; start the camera, or remap the topic'),
        (1, None, 'no image has come on /front/image yet, though it has a publisher'),
        (1, 2.5, 'silent: the last image on /front/image came 2.5 s ago'),
    ],
)
def test_silent_camera_is_stale(publishers: int, silence: float | None, words: str) -> None:
    camera = CAMERA._replace(publishers=publishers, figures=HEALTHY._replace(silence=silence))
    assert camera_assessment(camera, 2.0, '') == (STALE, words)


def test_a_camera_of_another_type_is_named() -> None:
    words = '/front/image is published as sensor_msgs/msg/CompressedImage, not as'
    camera = CAMERA._replace(figures=HEALTHY._replace(silence=None), mismatch=words)
    assert camera_assessment(camera, 2.0, '') == (STALE, words)


def test_silence_by_losses_says_so() -> None:
    figures = HEALTHY._replace(recently_received=0, losses=lost(177), silence=7.7)
    level, message = camera_assessment(CAMERA._replace(figures=figures), 2.0, 'take the profile')
    assert level == STALE
    assert 'came 7.7 s ago; 177 of 177 frames were lost on the way here' in message
    assert message.endswith('take the profile')


def test_losses_come_with_their_cure() -> None:
    camera = CAMERA._replace(figures=HEALTHY._replace(losses=lost(30)))
    level, message = camera_assessment(camera, 2.0, 'take the profile')
    assert level == WARN
    assert message.startswith('30 of 330 frames were lost on the way here in the last 10 s')
    assert message.endswith('take the profile')


def test_losses_by_stamps_may_be_of_the_driver() -> None:
    camera = CAMERA._replace(figures=HEALTHY._replace(losses=lost(30, by_stamps=True)))
    level, message = camera_assessment(camera, 2.0, 'take the profile')
    assert level == WARN
    assert message.startswith('30 of 330 frames are missing by their stamps')
    assert 'the camera driver did not send them, or they were lost' in message
    assert message.endswith('take the profile')


def test_a_driver_that_skips_frames_is_named() -> None:
    camera = CAMERA._replace(figures=HEALTHY._replace(losses=lost(0, skipped=30)))
    level, message = camera_assessment(camera, 2.0, 'take the profile')
    assert level == WARN
    assert message.startswith('the camera driver did not send 30 of 330 frames')
    assert 'profile' not in message


def test_areas_that_are_too_old_are_not_well() -> None:
    figures = HEALTHY._replace(
        recently_invalid=30, invalid_reason='the image is 0.70 s old; at most 0.5 s are allowed'
    )
    level, message = camera_assessment(CAMERA._replace(figures=figures), 2.0, '')
    assert level == WARN
    assert message.startswith(
        '30 of 30 drivable areas were not valid in the last 10 s: the image is 0.70 s old'
    )
    assert 'drivable.max_age' in message


def test_a_single_invalid_area_is_tolerated() -> None:
    figures = HEALTHY._replace(recently_invalid=1, recently_valid=300, invalid_reason='old')
    assert camera_assessment(CAMERA._replace(figures=figures), 2.0, '').level == OK


@pytest.mark.parametrize('foreign', ['x' * 3_000_000, '\x1b[2J\r\n\u202e' * 100])
def test_foreign_text_is_cut_and_escaped(foreign: str) -> None:
    figures = HEALTHY._replace(last_problem=foreign, problem_age=2.0)
    camera = CAMERA._replace(figures=figures, topic=foreign, uncalibrated=foreign, idle=foreign)
    status = camera_status('/node', camera, 2.0, foreign)
    shown = [status.message, *(pair.value for pair in status.values)]
    assert all(text.isprintable() for text in shown)
    assert sum(map(len, shown)) < 10_000


def test_the_last_problem_has_its_age() -> None:
    figures = HEALTHY._replace(last_problem='truncated image', problem_age=42.0)
    status = camera_status('/node', CAMERA._replace(figures=figures), 2.0, '')
    assert status.level == OK
    values = {pair.key: pair.value for pair in status.values}
    assert values['last problem'] == 'truncated image (42 s ago)'


@pytest.mark.parametrize('age', [3.1e8, -100.0])
def test_stamps_of_another_clock(age: float) -> None:
    figures = HEALTHY._replace(age=Percentiles(age, age, age))
    level, message = camera_assessment(CAMERA._replace(figures=figures), 2.0, '')
    assert level == WARN
    assert 's off the clock of this node; play recordings with --clock' in message


@pytest.mark.parametrize('received', [300, 20])
def test_a_single_loss_is_tolerated(received: int) -> None:
    figures = HEALTHY._replace(losses=lost(1), recently_received=received)
    camera = CAMERA._replace(figures=figures)
    assert camera_assessment(camera, 2.0, '').level == OK


def test_complaints_are_joined() -> None:
    figures = HEALTHY._replace(last_problem='truncated image', problem_age=2.0)
    camera = CAMERA._replace(figures=figures, uncalibrated='no camera_info has come')
    assessment = camera_assessment(camera, 2.0, '')
    assert assessment == (
        WARN,
        'frames without a mask: truncated image; drivable area without '
        'metres: no camera_info has come',
    )


@pytest.mark.parametrize(
    ('failure', 'alive', 'level', 'words'),
    [
        ('', True, OK, 'running'),
        ('device lost', True, ERROR, 'the engine failed: device lost'),
        ('', False, ERROR, 'the segmentation thread has ended'),
    ],
)
def test_engine(failure: str, alive: bool, level: bytes, words: str) -> None:
    status = engine_status('/node', EngineState(failure, 2, {'device': 'GPU 0'}), alive)
    assert status.level == level
    assert words in status.message
    values = {pair.key: pair.value for pair in status.values}
    assert values == {'device': 'GPU 0', 'restarts': '2'}


@pytest.mark.parametrize(
    ('middleware', 'words'),
    [
        ('rmw_fastrtps_cpp', f'FASTRTPS_DEFAULT_PROFILES_FILE={shipped_profile()}'),
        ('rmw_cyclonedds_cpp', 'net.core.rmem_max'),
        ('rmw_zenoh_cpp', 'doc/transport.md'),
    ],
)
def test_cure_fits_the_middleware(
    monkeypatch: pytest.MonkeyPatch, middleware: str, words: str
) -> None:
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', '/own/profile.xml')
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    monkeypatch.setattr(f'{DIAGNOSTICS}.shared_memory_fault', lambda: '')
    assert words in loss_cure(middleware)


@pytest.mark.parametrize(
    ('profile', 'words'),
    [
        (shipped_profile(), 'too small'),
        ('', f'this node FASTRTPS_DEFAULT_PROFILES_FILE={shipped_profile()}; too small'),
    ],
)
def test_shared_memory_that_is_too_small_is_the_cause(
    monkeypatch: pytest.MonkeyPatch, profile: str, words: str
) -> None:
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', profile)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    monkeypatch.setattr(f'{DIAGNOSTICS}.shared_memory_fault', lambda: 'too small')
    assert loss_cure('rmw_fastrtps_cpp').endswith(words)
    assert (loss_cure('rmw_fastrtps_cpp') == 'too small') == bool(profile)
    assert 'too small' not in loss_cure('rmw_cyclonedds_cpp')


@pytest.mark.parametrize(
    ('profile', 'words'),
    [
        ('', 'give the camera driver and this node FAST'),
        ('/own/profile.xml', 'give the camera driver and this node FAST'),
        (shipped_profile(), 'give the camera driver, as this node, FAST'),
    ],
)
def test_a_profile_that_the_node_has_is_for_the_driver(
    monkeypatch: pytest.MonkeyPatch, profile: str, words: str
) -> None:
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', profile)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    monkeypatch.setattr(f'{DIAGNOSTICS}.shared_memory_fault', lambda: '')
    assert loss_cure('rmw_fastrtps_cpp').startswith(words)


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


def test_silent_camera_is_reported_as_stale(make_rig: MakeRig) -> None:
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
