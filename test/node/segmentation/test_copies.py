# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A bgr8 frame's pixels are read once, where the message has them, into the engine's input."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from node_rig import Rig, image
from sensor_msgs.msg import Image

from segformer_ros.engines import Wanted, fake_spec
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame
from segformer_ros.node.segmentation.frame_worker import Inbox

pytestmark = pytest.mark.ros

HEIGHT, WIDTH = 1080, 1920


@pytest.fixture(scope='module')
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def test_frame_is_the_memory_of_the_message(pixels: np.ndarray) -> None:
    message = image(pixels)
    inbox: Inbox[Image] = Inbox(['front'])
    inbox.put('front', message)
    taken = inbox.take(0)[0][1]
    frame = Frame.from_image(taken)
    buffer = np.frombuffer(message.data, np.uint8)
    assert taken is message
    assert np.shares_memory(frame.pixels, buffer)
    assert np.shares_memory(frame.bgr(), buffer)


def test_engine_input_is_the_only_copy(pixels: np.ndarray) -> None:
    """Nothing of the frame's size is allocated between the message and the network."""
    message = image(pixels)
    small = Wanted(size=(8, 8))
    with FakeEngine(fake_spec((64, 128))) as engine:
        engine.segment([Frame.from_image(message)], small)
        tracemalloc.start()
        engine.segment([Frame.from_image(message)], small)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 0.1 * pixels.nbytes


def test_executor_only_stores_the_message(make_rig: object) -> None:
    """The callback takes less than a frame's copy would."""
    rig: Rig = make_rig(fake_delay=0.2)  # type: ignore[operator]
    rig.start('segmentation/mask')
    rig.send(image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), rig.now()))
    assert rig.spin_until(lambda: rig.counts().received == 1)
    stream = rig.node._streams[0]
    message = image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), rig.now())
    callback = stream._subscriptions[1].callback
    tracemalloc.start()
    callback(message, {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
