# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""drivable_area/map: by odometry or TF, lazily, and taken back when it no longer holds."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from node_rig import MASK, MakeRig, Rig, camera_info, street_image

from segformer_ros.node.segmentation.transforms import TransformSource

pytestmark = pytest.mark.ros

MAP = 'drivable_area/map'


def start(make_rig: MakeRig, **parameters: Any) -> Rig:
    rig = make_rig(**{'mount__height': 1.5, 'mount__pitch': 0.2, **parameters})
    rig.start(MAP)
    rig.calibrate(camera_info())
    return rig


def odometry(stamp: Time, x: float, ahead: float, **changed: str) -> Odometry:
    """Place of the vehicle, `ahead` seconds after a stamp."""
    message = Odometry(child_frame_id=changed.get('child', 'base_link'))
    message.header.frame_id = changed.get('frame', 'odom')
    now = stamp.sec * 1_000_000_000 + stamp.nanosec + round(ahead * 1e9)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 1_000_000_000)
    message.pose.pose.position.x = x
    message.pose.pose.orientation.w = 1.0
    return message


def drive(rig: Rig, x: float = 0.0) -> Any:
    """One image between two odometry messages, and the map of it."""
    rig.spin(0.2)  # that of an earlier drive goes on for 0.05 s after its image
    rig.send(odometry(rig.now(), x, 0.0), 'odom')  # returns once the node listens
    stamp = rig.now()
    rig.send(odometry(stamp, x, -0.05), 'odom')
    rig.send(street_image(stamp))
    rig.send(odometry(stamp, x, 0.05), 'odom')
    assert rig.spin_until(lambda: any(m.header.stamp == stamp for m in rig.received[MAP]))
    return rig.received[MAP][-1]


def cells_of(message: Any) -> np.ndarray:
    return np.array(message.data, np.int8).reshape(message.info.height, message.info.width)


def test_a_map_by_odometry(make_rig: MakeRig) -> None:
    rig = start(make_rig, drivable__max_age=10.0)
    message = drive(rig)
    assert message.header.frame_id == 'odom'
    assert (message.info.width, message.info.height) == (200, 200)
    assert message.info.resolution == pytest.approx(0.1)
    assert (message.info.origin.position.x, message.info.origin.position.y) == (-10.0, -10.0)
    cells = cells_of(message)
    assert set(np.unique(cells)) == {-1, 0, 100}
    assert (cells[:, :100] == -1).all()  # behind the vehicle
    moved = drive(rig, 3.0)
    assert moved.info.origin.position.x == pytest.approx(-7.0)


def test_the_map_rolls_with_the_parameters(make_rig: MakeRig) -> None:
    rig = start(make_rig, drivable__max_age=10.0, drivable__map__size=12.0)
    assert drive(rig).info.width == 120
    rig.set(drivable__map__resolution=0.2)
    assert drive(rig).info.width == 60


def test_wrong_costs_are_refused(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    (result,) = rig.set(drivable__map__costs=['rode=3'])
    assert not result.successful
    assert "'rode', which is not a class" in result.reason
    (result,) = rig.set(drivable__map__costs=['road=3', 'person=100'])
    assert result.successful


def test_without_a_place_there_is_no_map_and_the_log_says_so(
    make_rig: MakeRig, capfd: pytest.CaptureFixture[str]
) -> None:
    rig = start(make_rig, drivable__max_age=2.0)
    rig.subscribe(MASK)
    rig.segment(street_image(rig.now()))
    said: list[str] = []

    def says() -> bool:
        said.append(capfd.readouterr().err)
        return 'frames are missing from the map: no pose of base_link in odom' in ''.join(said)

    assert rig.spin_until(says)
    assert not rig.received[MAP]


def test_odometry_of_another_frame_is_not_taken(
    make_rig: MakeRig, capfd: pytest.CaptureFixture[str]
) -> None:
    rig = start(make_rig, drivable__max_age=10.0)
    for wrong in ({'child': 'imu_link'}, {'frame': 'map'}):
        stamp = rig.now()
        rig.send(odometry(stamp, 0.0, -0.05, **wrong), 'odom')
        rig.send(street_image(stamp))
        rig.send(odometry(stamp, 0.0, 0.05, **wrong), 'odom')
    said: list[str] = []

    def says() -> bool:
        said.append(capfd.readouterr().err)
        return 'it must be of drivable.vehicle_frame (base_link)' in ''.join(said)

    assert rig.spin_until(says)
    assert not rig.received[MAP]


def test_a_camera_that_falls_silent_takes_the_map_back(make_rig: MakeRig) -> None:
    rig = start(make_rig, drivable__max_age=1.5)
    assert (cells_of(drive(rig)) == 0).any()
    assert rig.spin_until(lambda: (cells_of(rig.received[MAP][-1]) == -1).all())


def test_other_settings_take_the_map_back(make_rig: MakeRig) -> None:
    rig = start(make_rig, drivable__max_age=10.0)
    assert (cells_of(drive(rig)) == 0).any()
    rig.set(drivable__map__half_life=5.0)
    assert rig.spin_until(lambda: (cells_of(rig.received[MAP][-1]) == -1).all())


def test_deactivation_takes_the_map_back(make_rig: MakeRig) -> None:
    rig = start(make_rig, drivable__max_age=10.0)
    assert (cells_of(drive(rig)) == 0).any()
    rig.node.trigger_deactivate()
    assert rig.spin_until(lambda: (cells_of(rig.received[MAP][-1]) == -1).all())


def test_nothing_is_remembered_while_nobody_listens(make_rig: MakeRig) -> None:
    rig = make_rig(mount__height=1.5, mount__pitch=0.2)
    rig.start(MASK)
    rig.calibrate(camera_info())
    assert rig.probe.count_subscribers('odom') == 0
    rig.segment(street_image(rig.now()))
    assert rig.node._map is not None
    assert rig.node._map._map.numbers() is None
    rig.subscribe(MAP)
    assert rig.spin_until(lambda: rig.probe.count_subscribers('odom') == 1)


def test_transforms_go_before_odometry(make_rig: MakeRig) -> None:
    """A buffer that answers at once, as tf2's: the vehicle stands at x = 5 and looks left."""
    rig = start(make_rig, drivable__max_age=10.0)
    asked: list[tuple[str, str]] = []

    def lookup_transform(target: str, source: str, time: Any) -> Any:
        asked.append((target, source))
        half = math.pi / 4
        offset = SimpleNamespace(x=5.0, y=0.0, z=0.3)
        turn = SimpleNamespace(x=0.0, y=0.0, z=math.sin(half), w=math.cos(half))
        return SimpleNamespace(transform=SimpleNamespace(translation=offset, rotation=turn))

    buffer = SimpleNamespace(lookup_transform=lookup_transform)
    assert rig.node._map is not None
    rig.node._map._transforms = TransformSource(buffer, (LookupError,))
    message = drive(rig)
    assert asked[0] == ('odom', 'base_link')
    assert message.info.origin.position.x == pytest.approx(-5.0)
    cells = cells_of(message)
    assert (cells[:100] == -1).all()  # y < 0: behind
    assert (cells[100:] == 0).any()


def test_at_a_negative_time_no_transform_is_asked_for(make_rig: MakeRig) -> None:
    memory = start(make_rig).node._map
    assert memory is not None
    memory._transforms = TransformSource(SimpleNamespace(), ())
    assert memory._pose(-1) is None


def test_all_cameras_are_in_one_map(make_rig: MakeRig) -> None:
    rig = make_rig(
        cameras=['front', 'rear'],
        drivable__max_age=10.0,
        front__mount__height=1.5,
        front__mount__pitch=0.2,
        rear__mount__height=1.5,
        rear__mount__pitch=0.2,
        rear__mount__yaw=3.1415,
    )
    rig.start(MAP)
    for name in ('front', 'rear'):
        rig.send(camera_info(), f'{name}/camera_info')
    rig.spin(0.3)
    stamp = rig.now()
    rig.send(odometry(stamp, 0.0, -0.1), 'odom')
    for name in ('front', 'rear'):
        rig.send(street_image(stamp), f'{name}/image')
    rig.send(odometry(stamp, 0.0, 0.1), 'odom')

    def both() -> bool:
        if not rig.received[MAP]:
            return False
        cells = cells_of(rig.received[MAP][-1])
        return bool((cells[:, :100] == 0).any() and (cells[:, 100:] == 0).any())

    assert rig.spin_until(both)
