# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""All topics of one camera: no frame comes or goes without being counted."""

from __future__ import annotations

import sys
import time
import tracemalloc
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from node_rig import MASK, MakeRig, Rig, street_image
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from segformer_ros.engines.cuda.device_frame import DeviceFrame
from segformer_ros.frame import Frame
from segformer_ros.node.messages import ImageGate
from segformer_ros.node.segmentation import camera_stream
from segformer_ros.node.segmentation.camera_stream import CameraStream
from segformer_ros.node.segmentation.segmentation_node import SegmentationNode, start_ahead

pytestmark = pytest.mark.ros

QUEUE = qos_profile_sensor_data.depth


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    rig = make_rig(diagnostics_period=0.2)
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image(rig.now()))
    return rig


def publish(rig: Rig, count: int, publisher: Any = None) -> None:
    """Publish frames while nothing takes them: all but the newest fall out of the queue."""
    for _ in range(count):
        time.sleep(0.002)  # no camera sends 1000 frames a second
        (publisher or rig._publishers['image']).publish(street_image(rig.now()))


def received(rig: Rig, count: int) -> bool:
    """Whether so many frames have come."""
    return rig.counts().received == count


def values(rig: Rig) -> dict[str, str]:
    """Figures of the camera on /diagnostics."""
    return {pair.key: pair.value for pair in rig.status().values}


def test_what_falls_out_of_the_queue_is_received_and_overtaken(rig: Rig) -> None:
    publish(rig, 20)
    assert rig.spin_until(lambda: rig.counts().received == 21)
    publish(rig, 1)
    assert rig.spin_until(lambda: rig.counts().received == 22 and not rig.counts().pending)
    counts = rig.counts()
    assert counts.received == sum(counts) - counts.received
    assert counts.overtaken >= 20 - QUEUE
    assert values(rig)['lost'] == '0'
    assert 'lost' not in rig.status().message


def test_the_last_frames_of_a_camera_are_settled_without_further_ones(rig: Rig) -> None:
    publish(rig, 20)
    assert rig.spin_until(lambda: values(rig)['received'] == '21')


def test_a_driver_that_is_started_again_has_lost_nothing(rig: Rig) -> None:
    publish(rig, 3)
    assert rig.spin_until(lambda: rig.counts().received == 4)
    rig.probe.destroy_publisher(rig._publishers.pop('image'))
    rig.deliver(street_image(rig.now()))
    publish(rig, 2)
    assert rig.spin_until(lambda: rig.counts().received == 7)
    rig.spin(0.3)
    assert rig.counts().received == 7
    assert values(rig)['lost'] == '0'


def test_two_publishers_count_each_for_itself(rig: Rig) -> None:
    other = rig.probe.create_publisher(Image, 'image', 10)
    assert rig.spin_until(lambda: other.get_subscription_count() > 0)
    for number in range(9):
        publish(rig, 1, other if number % 2 else None)
        assert rig.spin_until(partial(received, rig, 2 + number))
    rig.spin(0.3)
    assert rig.counts().received == 10
    assert values(rig)['lost'] == '0'


@pytest.mark.parametrize('gives_info', [True, False])
def test_stamps_a_nanosecond_apart_take_no_memory(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, gives_info: bool
) -> None:
    """And then 1.9 s: two billion lost frames, were the stamps believed."""
    monkeypatch.setattr(camera_stream, '_GIVES_INFO', gives_info)
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    tracemalloc.start()
    for tick in range(22):
        stamp = Time(sec=100, nanosec=tick) if tick < 21 else Time(sec=101, nanosec=900_000_000)
        rig.deliver(street_image(stamp))
    assert values(rig)['lost'] == '0'
    assert 'did not send' not in rig.status().message
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_humble_gives_no_numbers(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_stream, '_GIVES_INFO', False)
    rig = make_rig()
    rig.start(MASK)
    rig.segment(street_image(rig.now()))
    publish(rig, 20)
    assert rig.spin_until(lambda: rig.counts().received == 1 + QUEUE)
    rig.spin(0.3)
    assert rig.counts().received == 1 + QUEUE


def test_an_encoding_of_megabytes_takes_a_line(rig: Rig, capfd: Any) -> None:
    message = street_image(rig.now())
    message.encoding = 'x' * 3_000_000
    message.header.frame_id = '\x1b[31m' * 100
    rig.deliver(message)
    assert rig.spin_until(lambda: rig.counts().rejected == 1)
    assert len(values(rig)['last problem']) <= 1000
    assert 'unknown image encoding' in rig.status().message
    assert all(len(line) < 2000 for line in capfd.readouterr().err.splitlines())


class Lyrical:
    """What ROS 2 Lyrical adds for pixels on the GPU, as it is documented; none of it was tried.

    Read on 30 November 2026. Node.create_subscription takes the keyword argument
    acceptable_buffer_backends: Optional[str] = 'cpu' (ros2/rclpy, pull request 1628, merged in
    March 2026), names with commas between, besides which host memory is always accepted
    (ros2_documentation, How-To-Guides/Using-Buffer-Backends of Lyrical). `data` of a message is a
    rosidl_buffer.Buffer: backend_type, len(), to_bytes(). Its pixels' address is from the package
    cuda_buffer (test/engines/cuda/test_device_frame.py).
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str | None] = []
        plain = SegmentationNode.create_subscription

        def create_subscription(
            node: SegmentationNode,
            *arguments: Any,
            acceptable_buffer_backends: str | None = 'cpu',
            **options: Any,
        ) -> Any:
            if arguments[0] in (Image, CompressedImage):
                self.asked.append(acceptable_buffer_backends)
            return plain(node, *arguments, **options)

        monkeypatch.setattr(SegmentationNode, 'create_subscription', create_subscription)

    @staticmethod
    def install(monkeypatch: pytest.MonkeyPatch) -> None:
        package: Any = ModuleType('cuda_buffer')
        package.CudaBuffer = SimpleNamespace()
        monkeypatch.setitem(sys.modules, 'cuda_buffer', package)

    @staticmethod
    def message(stamp: Time) -> Any:
        plain = street_image(stamp)
        names = ('header', 'height', 'width', 'step', 'encoding', 'is_bigendian')
        fields = {name: getattr(plain, name) for name in names}
        return SimpleNamespace(**fields, data=Buffer(bytes(plain.data)))


class Buffer(bytes):
    """A buffer on the GPU."""

    backend_type = 'cuda'

    def to_bytes(self) -> bytes:
        return bytes(self)


def test_pixels_on_the_gpu_stay_there(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    lyrical = Lyrical(monkeypatch)
    lyrical.install(monkeypatch)
    rig = make_rig()
    rig.start(MASK)
    assert lyrical.asked == ['cuda']
    assert rig.node._engine and rig.node._engine.options.share_context
    ahead = start_ahead(['--ros-args', '-p', 'engine:=fake'])
    assert ahead and ahead.engine.options.share_context
    ahead.worker.stop()
    stream = rig.node._streams[0]
    settings = stream._parameters.settings
    task = stream.take(lyrical.message(rig.now()), settings)
    assert task and isinstance(task.frame, DeviceFrame)
    task = stream.take(street_image(rig.now()), settings)
    assert task and type(task.frame) is Frame
    rig.segment(street_image(rig.now()))


@pytest.mark.parametrize('lacks', ['the package', 'the option'])
def test_other_ros_is_asked_for_none_and_copies_them(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    lyrical = None
    if lacks == 'the package':
        lyrical = Lyrical(monkeypatch)
    else:
        Lyrical.install(monkeypatch)
    rig = make_rig()
    rig.start(MASK)
    assert lyrical is None or lyrical.asked == ['cpu']
    assert rig.node._engine and not rig.node._engine.options.share_context
    stream = rig.node._streams[0]
    task = stream.take(Lyrical.message(rig.now()), stream._parameters.settings)
    assert task and type(task.frame) is Frame
    assert task.frame.pixels.tobytes() == bytes(street_image().data)


def test_compressed_images_are_never_on_the_gpu(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    lyrical = Lyrical(monkeypatch)
    lyrical.install(monkeypatch)
    rig = make_rig(compressed=True)
    rig.start(MASK)
    assert 'cuda' not in lyrical.asked
    assert rig.node._engine and not rig.node._engine.options.share_context


class Taken:
    """Counts the images that rclpy converts, and how often it asks whether it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images = self.questions = 0
        on_image, may = CameraStream._on_image, ImageGate.can_execute

        def taken(stream: CameraStream, message: Any, info: Any) -> None:  # rclpy counts them
            self.images += 1
            on_image(stream, message, info)

        def asked(gate: ImageGate, entity: Any) -> bool:
            self.questions += 1
            return may(gate, entity)

        monkeypatch.setattr(CameraStream, '_on_image', taken)
        monkeypatch.setattr(ImageGate, 'can_execute', asked)


def film(rig: Rig, count: int) -> None:
    """A camera of 50 Hz."""
    for _ in range(count):
        rig._publishers['image'].publish(street_image(rig.now()))
        rig.spin(0.02)


def test_a_frame_that_is_overtaken_is_not_taken_from_the_middleware(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken(monkeypatch)
    rig = make_rig(fake_delay=0.3)
    rig.start(MASK)
    for _ in range(3):  # numbers tell of what is left behind, and the engine's time is known
        rig.segment(street_image(rig.now()))
    taken.images = taken.questions = 0
    film(rig, 60)
    assert rig.spin_until(lambda: rig.counts().received == 63 and not rig.counts().pending)
    counts = rig.counts()
    assert counts.segmented + counts.overtaken == counts.received
    assert taken.images < 30
    assert taken.questions < 100 * 63, 'the executor waits instead of asking again and again'


def test_a_camera_that_nobody_wants_is_only_looked_at(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken(monkeypatch)
    rig = make_rig(silent_after=1.0, drivable__max_age=1.0)
    rig.start('/diagnostics')
    for _ in range(3):
        rig.deliver(street_image(rig.now()))
    taken.images = 0
    film(rig, 60)
    assert 1 <= taken.images < 30
    assert 'idle: nobody subscribes' in rig.status().message, 'and not silent'
    rig.subscribe(MASK)
    rig.segment(street_image(rig.now()))


@pytest.mark.parametrize('gives_info', [True, False])
def test_every_frame_is_taken_where_numbers_do_not_tell(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, gives_info: bool
) -> None:
    """With two publishers, or with ROS 2 Humble."""
    monkeypatch.setattr(camera_stream, '_GIVES_INFO', gives_info)
    rig = make_rig(fake_delay=0.3)
    rig.start(MASK)
    rig.segment(street_image(rig.now()))
    others: list[Any] = [None, None]
    if gives_info:
        others[1] = rig.probe.create_publisher(Image, 'image', 10)
        assert rig.spin_until(lambda: others[1].get_subscription_count() > 0)
    for number in range(30):
        publish(rig, 1, others[number % 2])
        assert rig.spin_until(partial(received, rig, 2 + number))
