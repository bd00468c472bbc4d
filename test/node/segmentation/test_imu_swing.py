# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Roll and pitch of the vehicle's body from the topic `imu`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drivable_rig import AREA, area_of, forward
from geometry_msgs.msg import Quaternion
from node_rig import MakeRig, Rig, camera_info, street_image
from sensor_msgs.msg import Imu

from segformer_ros.camera import CameraPose
from segformer_ros.recordings.bag_writer import quaternion

pytestmark = pytest.mark.ros


def orientation(pitch: float, roll: float = 0.0) -> Quaternion:
    """Of a body that is tilted."""
    turn = CameraPose(1.0, pitch, roll).rotation() @ CameraPose(1.0).rotation().T
    x, y, z, w = quaternion(turn)
    return Quaternion(x=x, y=y, z=z, w=w)


def started(make_rig: MakeRig, use_imu: bool = True) -> Rig:
    """A rig with a mount by parameters."""
    rig = make_rig(
        drivable__use_imu=use_imu,
        drivable__use_tf=False,
        drivable__max_age=60.0,  # no machine is that slow
        mount__height=1.5,
        mount__pitch=0.05,
    )
    rig.start(AREA)
    rig.calibrate(camera_info())
    return rig


def send_imu(rig: Rig, stamp_ns: int, turn: Quaternion) -> None:
    """One orientation, taken up."""
    message = Imu(orientation=turn)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    assert rig.node._swing
    body = rig.node._swing.body
    rig.send(message, 'imu')

    def taken() -> bool:
        return bool(body._readings) and abs(body._readings[-1].seconds - stamp_ns * 1e-9) < 1e-6

    assert rig.spin_until(taken)


def test_the_swing_moves_the_horizon(make_rig: MakeRig) -> None:
    swing = 0.02
    plain = started(make_rig, use_imu=False)
    plain.set(mount__pitch=0.05 + swing)
    expected = forward(area_of(plain))
    rig = started(make_rig)
    stamp = rig.now()
    newest = stamp.sec * 10**9 + stamp.nanosec
    for step in range(40, 0, -1):
        send_imu(rig, newest - step * 10_000_000, orientation(-0.03))  # on a slope
    send_imu(rig, newest, orientation(-0.03 + swing))
    area = rig.segment(street_image(stamp), AREA)
    assert area.calibrated, area.reason
    found = forward(area)
    both = np.isfinite(expected) & np.isfinite(found) & (expected > 0)
    assert both.any()
    np.testing.assert_allclose(found[both], expected[both], rtol=0.01)


def test_without_orientations_there_are_no_metres(make_rig: MakeRig) -> None:
    rig = started(make_rig)
    area = area_of(rig)
    assert not area.calibrated
    assert 'no imu orientations around the stamp of the image' in area.reason


def test_an_imu_without_orientation_is_told(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = started(make_rig)
    lines: list[str] = []
    monkeypatch.setattr(rig.node._swing, '_complain', lines.append)
    message = Imu(orientation=orientation(math.pi))
    rig.send(message, 'imu')
    assert rig.spin_until(lambda: len(lines) == 1)
    message.orientation_covariance[0] = -1.0
    rig.send(message, 'imu')
    assert rig.spin_until(lambda: len(lines) == 2)
    assert 'tilted by 180 degrees' in lines[0]
    assert 'orientation_covariance[0] is -1' in lines[1]


def test_nothing_is_subscribed_to_unless_asked(make_rig: MakeRig) -> None:
    rig = started(make_rig, use_imu=False)
    assert rig.probe.count_subscribers('imu') == 0
