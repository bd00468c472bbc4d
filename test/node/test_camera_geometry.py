"""Metres only where they are known: calibration, and the pose from parameters or TF."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drivable_rig import AREA, area_of, assert_nothing_known, forward, start
from geometry_msgs.msg import TransformStamped
from node_rig import HEIGHT, WIDTH, MakeRig, camera_info
from sensor_msgs.msg import CameraInfo

from segformer_ros.node import segmentation_node
from segformer_ros.node.transforms import TransformSource

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
    rig = make_rig()
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
