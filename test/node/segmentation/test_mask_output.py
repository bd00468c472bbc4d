# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What a camera publishes: masks, confidence and overlays, under the header of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from node_rig import (
    HEIGHT,
    MASK,
    WIDTH,
    MakeRig,
    camera_info,
    image,
    painted,
    pixels_of,
    street_image,
    street_labels,
)
from sensor_msgs.msg import CompressedImage

from segformer_ros.engines import Pending, Wanted
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import BlockedRows, Frame

pytestmark = pytest.mark.ros

ODD_STAMP = Time(sec=1_700_000_000, nanosec=999_999_999)


def test_mask_holds_the_labels_under_the_header_of_the_input(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK)
    mask = rig.segment(street_image(ODD_STAMP))
    assert mask.encoding == 'mono8'
    assert (mask.height, mask.width, mask.step) == (HEIGHT, WIDTH, WIDTH)
    assert (pixels_of(mask) == street_labels()).mean() > 0.97
    assert mask.header.stamp == ODD_STAMP
    assert mask.header.frame_id == 'camera_optical'


def test_every_output_carries_the_stamp_and_frame(make_rig: MakeRig) -> None:
    rig = make_rig(mount__height=1.2)
    topics = [
        MASK,
        'segmentation/confidence',
        'segmentation/overlay',
        'segmentation/overlay/compressed',
        'segmentation/camera_info',
        'drivable_area',
        'drivable_area/grid',
        'drivable_area/scan',
    ]
    rig.start(*topics)
    stamp = rig.now()
    rig.calibrate(camera_info())
    rig.segment(street_image(stamp), 'drivable_area/scan')
    assert rig.spin_until(lambda: all(rig.received[topic] for topic in topics))
    for topic in topics:
        header = rig.received[topic][-1].header
        vehicle = topic in ('drivable_area/grid', 'drivable_area/scan')
        assert header.stamp == stamp, topic
        assert header.frame_id == ('base_link' if vehicle else 'camera_optical'), topic


@pytest.mark.parametrize(
    ('encoding', 'code'),
    [
        ('rgb8', cv2.COLOR_BGR2RGB),
        ('bgra8', cv2.COLOR_BGR2BGRA),
    ],
)
def test_other_encodings_give_the_same_mask(make_rig: MakeRig, encoding: str, code: int) -> None:
    rig = make_rig()
    rig.start(MASK)
    expected = pixels_of(rig.segment(street_image()))
    pixels = np.asarray(cv2.cvtColor(painted(street_labels()), code))
    np.testing.assert_array_equal(
        pixels_of(rig.segment(image(pixels, encoding=encoding))), expected
    )


def test_compressed_input_and_overlay(make_rig: MakeRig) -> None:
    rig = make_rig(compressed=True, overlay_opacity=0.0)
    rig.start('segmentation/overlay/compressed')
    pixels = painted(street_labels())
    message = CompressedImage(format='png')
    message.data = cv2.imencode('.png', pixels)[1].tobytes()
    overlay = rig.segment(message, 'segmentation/overlay/compressed')
    assert overlay.format == 'bgr8; jpeg compressed bgr8'
    decoded = np.asarray(cv2.imdecode(np.frombuffer(overlay.data, np.uint8), cv2.IMREAD_COLOR))
    assert np.abs(decoded.astype(int) - pixels).mean() < 5


def test_confidence_is_high_inside_and_low_at_borders(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start('segmentation/confidence')
    confidence = pixels_of(rig.segment(street_image(), 'segmentation/confidence'))
    assert confidence.shape == (HEIGHT, WIDTH)
    assert confidence[HEIGHT // 4, WIDTH // 2] > 200


def test_mask_at_a_chosen_size_with_scaled_camera_info(make_rig: MakeRig) -> None:
    rig = make_rig(mask_width=WIDTH // 2)
    rig.start(MASK, 'segmentation/camera_info')
    rig.calibrate(camera_info())
    mask = rig.segment(street_image(ODD_STAMP))
    assert (mask.height, mask.width) == (HEIGHT // 2, WIDTH // 2)
    assert rig.spin_until(lambda: bool(rig.received['segmentation/camera_info']))
    info = rig.received['segmentation/camera_info'][-1]
    assert (info.height, info.width) == (HEIGHT // 2, WIDTH // 2)
    assert info.k[0] == 75.0
    assert info.k[2] == pytest.approx((WIDTH / 2 - 1) / 2)
    assert info.header == mask.header


def test_camera_info_alone_may_be_subscribed_to(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start('segmentation/camera_info')
    rig.calibrate(camera_info())
    rig.deliver(street_image(ODD_STAMP))
    assert rig.spin_until(lambda: bool(rig.received['segmentation/camera_info']))


def test_overlay_and_blocked_rows_of_the_engine_are_taken(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Wanted] = []
    original = FakeEngine.start

    def start(self: FakeEngine, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        asked.append(wanted)
        overlay = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
        blocked = BlockedRows(np.full(WIDTH, HEIGHT - 1, np.int32), wanted.drivable)
        finish = original(self, frames, wanted)
        return lambda: [replace(one, overlay=overlay, blocked=blocked) for one in finish()]

    monkeypatch.setattr(FakeEngine, 'start', start)
    rig = make_rig(overlay_opacity=0.25)
    rig.start('segmentation/overlay', 'drivable_area')
    assert (pixels_of(rig.segment(street_image(rig.now()), 'segmentation/overlay')) == 77).all()
    assert (asked[-1].overlay, asked[-1].drivable) == (0.25, (0,))
    assert rig.spin_until(lambda: bool(rig.received['drivable_area']))
    assert set(rig.received['drivable_area'][-1].boundary_row) == {HEIGHT - 1}


def test_overlay_opacity_changes_while_running(make_rig: MakeRig) -> None:
    rig = make_rig(overlay_opacity=0.0)
    rig.start('segmentation/overlay')
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    overlay = pixels_of(rig.segment(image(grey), 'segmentation/overlay'))
    np.testing.assert_array_equal(overlay, grey)
    assert rig.set(overlay_opacity=1.0)[0].successful
    overlay = pixels_of(rig.segment(image(grey), 'segmentation/overlay'))
    assert np.abs(overlay.astype(int) - grey).max() > 5


def test_a_change_while_a_frame_is_in_the_engine_counts_from_the_next_one(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(overlay_opacity=0.0)
    rig.start('segmentation/overlay')
    original = FakeEngine._end

    def infer(self: FakeEngine, slot: int) -> tuple[np.ndarray, float]:
        rig.set(overlay_opacity=1.0, mask_width=WIDTH // 2)
        return original(self, slot)

    monkeypatch.setattr(FakeEngine, '_end', infer)
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    first = pixels_of(rig.segment(image(grey), 'segmentation/overlay'))
    np.testing.assert_array_equal(first, grey)
    second = pixels_of(rig.segment(image(grey), 'segmentation/overlay'))
    assert np.abs(second.astype(int) - grey).max() > 5


def test_upsampling_and_size_change_while_running(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK)
    labels = street_labels()
    labels[np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) > 150] = 8
    exact = pixels_of(rig.segment(image(painted(labels))))
    rig.set(upsampling='fast')
    fast = pixels_of(rig.segment(image(painted(labels))))
    assert exact.shape == fast.shape
    assert (exact != fast).any()
    rig.set(mask_height=HEIGHT // 4)
    assert rig.segment(image(painted(labels))).width == WIDTH // 4
