# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Damaged and boundless images through the node: refused, counted and said; no other is lost."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from node_rig import MASK, MakeRig, Rig, painted, street_labels
from sensor_msgs.msg import CompressedImage

from segformer_ros.node.segmentation.frame_task import FrameCounts

pytestmark = pytest.mark.ros


def start(make_rig: MakeRig, **parameters: object) -> Rig:
    rig: Rig = make_rig(compressed=True, **parameters)
    rig.start(MASK, '/diagnostics')
    return rig


def street(kind: str) -> bytes:
    return cv2.imencode(kind, painted(street_labels()))[1].tobytes()


def message(rig: Rig, data: bytes) -> CompressedImage:
    made = CompressedImage(format='bgr8; compressed', data=data)
    made.header.stamp = rig.now()
    return made


def gigapixel() -> bytes:
    data = bytearray(street('.jpg'))
    size = data.index(b'\xff\xc0') + 5
    data[size : size + 4] = b'\x80\x00\x80\x00'
    return bytes(data)


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (street('.jpg')[:-200] + b'\xff\xd9', 'damaged JPEG image of .* bytes'),
        (street('.png').replace(b'IDAT', b'IDAT\0'), 'PNG image'),
        (gigapixel(), '32768x32768 pixels is above the limit of 25 megapixels'),
    ],
    ids=['JPEG', 'PNG', 'gigapixel'],
)
def test_a_bad_image_is_counted_and_said_and_costs_no_other(
    make_rig: MakeRig, capfd: pytest.CaptureFixture[str], data: bytes, words: str
) -> None:
    rig = start(make_rig)
    capfd.readouterr()
    for _ in range(3):
        rig.deliver(message(rig, data))
        assert rig.spin_until(lambda: not rig.counts().pending)
    assert re.search(words, rig.status().message + str(rig.status().values))
    rig.segment(message(rig, street('.jpg')))
    assert rig.spin_until(lambda: not rig.counts().pending)
    assert rig.counts() == FrameCounts(received=4, segmented=1, rejected=3)
    printed = capfd.readouterr()
    assert not re.search('Corrupt JPEG|libpng|OpenCV', printed.out + printed.err)


def test_the_limit_can_be_set_while_the_node_runs(make_rig: MakeRig) -> None:
    rig = start(make_rig)
    assert all(result.successful for result in rig.set(max_megapixels=0.01))
    rig.deliver(message(rig, street('.jpg')))
    assert rig.spin_until(lambda: rig.counts().rejected == 1)
    assert all(result.successful for result in rig.set(max_megapixels=1.0))
    mask = rig.segment(message(rig, street('.jpg')))
    assert np.prod((mask.height, mask.width)) > 10_000
