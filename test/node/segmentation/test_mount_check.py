# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The comparison of a mount with the motion of its camera."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import corridor
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from node_rig import MakeRig, Rig, camera_info, image

from segformer_ros.camera import (
    CameraPose,
    EgoMotionTracker,
    Measured,
    MountEstimate,
    mount_estimation,
)
from segformer_ros.camera.mount_estimation import MountCheck, warning_of
from segformer_ros.classes import load_class_map
from segformer_ros.frame import Frame, Stamp

pytestmark = pytest.mark.ros
TRUE = CameraPose(1.4, pitch=0.05, yaw=-0.04)
TOLERANCE = math.radians(0.5)


@pytest.fixture(scope='module')
def views() -> list[corridor.View]:
    """A drive through a street."""
    return list(corridor.drive(corridor.straight(45), TRUE))


@pytest.fixture(autouse=True)
def _every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_estimation, 'CHECK_EVERY', 0.0)


def offer(check: MountCheck, view: corridor.View, pose: CameraPose, mount: object = 'a') -> None:
    """Hand a frame in and wait for the thread."""
    frame = Frame.from_array(
        corridor.painted(view), 'bgr8', Stamp.from_ns(round(view.seconds * 1e9))
    )
    check.offer(frame, view.labels, corridor.CAMERA, pose, TOLERANCE, mount)
    if check._work is not None:
        check._work.result()


def watched(views: list[corridor.View], pose: CameraPose) -> MountCheck:
    """A check that has seen a drive with this for its mount."""
    check = MountCheck(load_class_map('cityscapes'))
    for view in views:
        offer(check, view, pose)
    check.close()
    return check


def test_a_right_mount(views: list[corridor.View]) -> None:
    check = watched(views, TRUE)
    assert check.warning == ''
    assert 'pitch looks' in check.found


def test_a_wrong_mount(views: list[corridor.View]) -> None:
    stated = replace(TRUE, pitch=TRUE.pitch - math.radians(2), yaw=TRUE.yaw + math.radians(3))
    check = watched(views, stated)
    assert 'pitch looks +2.0 +- 0.' in check.warning.replace('+1.9', '+2.0')
    assert 'yaw looks -3.' in check.warning
    assert 'roll' not in check.warning
    assert check.warning.startswith('the mount does not fit the motion')


def test_another_mount_begins_anew(views: list[corridor.View]) -> None:
    check = MountCheck(load_class_map('cityscapes'))
    for view in views:
        offer(check, view, replace(TRUE, pitch=0.15))
    assert check.warning
    offer(check, views[-1]._replace(seconds=90.0), TRUE, 'b')
    assert (check.found, check.warning) == ('', '')
    check.close()


def test_without_metres_nothing_is_compared(views: list[corridor.View]) -> None:
    check = MountCheck(load_class_map('cityscapes'))
    frame = Frame.from_array(corridor.painted(views[0]))
    check.offer(frame, views[0].labels, corridor.CAMERA, None, TOLERANCE, 'a')
    check.offer(frame, views[0].labels, None, TRUE, TOLERANCE, 'a')
    assert check._thread is None
    check.close()


def test_a_broken_frame_costs_nothing_else(views: list[corridor.View]) -> None:
    check = MountCheck(load_class_map('cityscapes'))
    frame = Frame.from_array(np.zeros((7, 5, 3), np.uint8), 'bgr8', Stamp(1))
    check.offer(frame, np.zeros((0, 0), np.uint8), corridor.CAMERA, TRUE, TOLERANCE, 'a')
    assert check._work is not None
    check._work.result()
    assert 'mount check failed' in check.found
    check.close()


def test_a_vehicle_that_stands_costs_little(
    views: list[corridor.View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of six seconds at 30 Hz, one is looked at, ten times."""
    looks, add = list[float](), EgoMotionTracker.add

    def counted(tracker: EgoMotionTracker, seconds: float, *rest: Any) -> Any:
        looks.append(seconds)
        return add(tracker, seconds, *rest)

    monkeypatch.setattr(EgoMotionTracker, 'add', counted)
    check = MountCheck(load_class_map('cityscapes'))
    for index in range(180):
        offer(check, views[0]._replace(seconds=5.0 + index / 30), TRUE)
    check.close()
    assert 8 <= len(looks) <= 14


def estimate(pitch: float, sigma: float) -> MountEstimate:
    """An estimate, degrees."""
    angle, zero = Measured(math.radians(pitch), math.radians(sigma)), Measured(0.0, 0.001)
    return MountEstimate(angle, zero, zero, None, None, 30)


def test_only_what_is_certain_is_a_warning() -> None:
    assert 'pitch looks +1.3 +- 0.2 degrees off' in warning_of(estimate(1.3, 0.2), TOLERANCE)
    assert warning_of(estimate(1.0, 0.2), TOLERANCE) == ''
    assert warning_of(estimate(-0.4, 0.03), TOLERANCE) == ''
    assert warning_of(estimate(-1.3, 0.2), TOLERANCE)


def segmented(rig: Rig, count: int) -> bool:
    """Whether the node has segmented so many frames."""
    return rig.counts().segmented >= count


def test_the_node_warns(
    make_rig: MakeRig, views: list[corridor.View], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(
        drivable__check_mount=True, drivable__use_tf=False, mount__height=1.4, mount__pitch=0.0
    )
    rig.start('drivable_area', '/diagnostics')
    info = camera_info(corridor.CAMERA.height, corridor.CAMERA.width)
    info.k = info.k.copy()
    info.k[0] = info.k[4] = corridor.CAMERA.fx
    rig.calibrate(info)
    check = rig.node._streams[0].drivable.mount_check
    for view in views:
        sec, nanosec = divmod(round(view.seconds * 1e9), 10**9)
        done = rig.counts().segmented + 1
        rig.send(image(corridor.painted(view), Time(sec=sec, nanosec=nanosec)))
        assert rig.spin_until(partial(segmented, rig, done))
        assert check._work is not None
        check._work.result()
    status = rig.status()
    assert status.level == DiagnosticStatus.WARN
    assert 'pitch looks +2.' in status.message
    assert 'degrees off' in status.message
    values = {pair.key: pair.value for pair in status.values}
    assert 'roll looks' in values['mount check (degrees)']
    assert rig.node._table.mounts[''].pitch == 0  # told, never corrected
