# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The replay node against a real consumer, over DDS."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import rclpy
import recordings as rec
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from spinner import Spinner
from std_msgs.msg import String

from segformer_ros.frame import Frame
from segformer_ros.node.messages import LATCHED
from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.replay.player import ReplayReport
from segformer_ros.node.replay.replay_node import ReplayNode
from segformer_ros.recordings import SAMPLE, SourceError

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures('ros')]

_numbers = itertools.count()


def stamp_of(message: Any) -> int:
    """Stamp of a message in ns."""
    stamp = message.header.stamp
    return int(stamp.sec * 10**9 + stamp.nanosec)


def wait_for(messages: list[Any]) -> None:
    """Wait until a message has come."""
    end = time.monotonic() + 60
    while not messages:
        assert time.monotonic() < end
        time.sleep(0.01)


class Consumer:
    """A node that takes images and answers with masks, spun in a thread."""

    def __init__(self, answering: Callable[[int], bool] = lambda place: True) -> None:
        self.namespace = f'/replay{next(_numbers)}'
        self.node = rclpy.create_node('consumer', namespace=self.namespace)
        self.images: list[Any] = []
        self.received: dict[str, list[Any]] = {}
        self._answering = answering
        self._mask = self.node.create_publisher(Image, 'segmentation/mask', 5)

    def take(self, topic: str, kind: Any, qos: Any = qos_profile_sensor_data) -> list[Any]:
        """Collect the messages of a topic."""
        found = self.received.setdefault(topic, [])
        self.node.create_subscription(kind, topic, found.append, qos)
        return found

    def answer_images(self, kind: Any = Image, topic: str = 'image') -> None:
        """Take images, and answer those that are to be answered."""

        def on_image(message: Any) -> None:
            self.images.append(message)
            if self._answering(len(self.images) - 1):
                self._mask.publish(Image(header=message.header))

        self.node.create_subscription(kind, topic, on_image, qos_profile_sensor_data)

    @contextmanager
    def replay(self, source: Path | str, **parameters: Any) -> Iterator[ReplayNode]:
        """A replay node of a source; both nodes are spun."""
        given = {'input': str(source), 'reliable': True, **parameters}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        node = ReplayNode(namespace=self.namespace, parameter_overrides=overrides)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.add_node(self.node)
        spinner = Spinner(executor)
        spinner.start()
        try:
            yield node
        finally:
            spinner.stop()
            node.destroy_node()
            self.node.destroy_node()


def test_a_bag_comes_as_it_was_recorded(tmp_path: Path) -> None:
    consumer = Consumer()
    infos = consumer.take('camera_info', CameraInfo)
    labels = consumer.take('labels', Image)
    clocks = consumer.take('/clock', Clock)
    reports = consumer.take('replay/report', String, LATCHED)
    consumer.answer_images()
    bag = rec.write_bag(tmp_path / 'drive', 5)
    options = {'label_topic': '/front/labels', 'stamps': 'recorded', 'clock': True, 'rate': 0.0}
    with consumer.replay(bag, **options) as node:
        assert node.play()
        wait_for(reports)
    expected = [rec.stamp_ns(index) for index in range(5)]
    assert [stamp_of(image) for image in consumer.images] == expected
    for index, image in enumerate(consumer.images):
        assert image.header.frame_id == 'front_optical'
        assert (image.encoding, image.step) == ('bgr8', 64 * 3)
        assert rec.index_of(Frame.from_image(image).pixels) == index
    assert [stamp_of(label) for label in labels] == expected
    assert Frame.from_image(labels[3]).pixels[5, 5] == 3
    assert [stamp_of(info) for info in infos] == expected
    assert (infos[0].k[0], infos[0].width) == (80.0, 64)
    assert [clock.clock.sec for clock in clocks] == [stamp // 10**9 for stamp in expected]
    report = ReplayReport.from_json(reports[0].data)
    assert (report.finished, report.published, report.answered) == (True, 5, 5)


def test_without_tf2_a_recording_plays_without_its_mount(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setitem(sys.modules, 'tf2_msgs.msg', None)
    consumer = Consumer()
    consumer.answer_images()
    with consumer.replay('street::2', rate=0.0, vehicle_frame='base_link') as node:
        assert node.play()
    assert len(consumer.images) == 2
    said = [line for line in capfd.readouterr().err.splitlines() if 'tf2_msgs' in line]
    assert len(said) == 1 and said[0].startswith('[INFO]')


class Listener:
    """A real tf2 buffer beside a consumer, and what it says at each image's stamp."""

    def __init__(self, consumer: Consumer) -> None:
        self.tf2 = pytest.importorskip('tf2_ros')
        pytest.importorskip('tf2_msgs.msg')
        self.buffer = self.tf2.Buffer()
        self.listener = self.tf2.TransformListener(self.buffer, consumer.node)
        self.images = consumer.take('image', Image)

    def height(self, image: Any, frame: str = 'base_link') -> float | None:
        """Height of the camera at an image's stamp; None where TF does not tell."""
        time = Time.from_msg(image.header.stamp)
        try:
            found = self.buffer.lookup_transform(frame, image.header.frame_id, time)
        except self.tf2.TransformException:
            return None
        return float(found.transform.translation.z)


@pytest.mark.parametrize('rate', [0.0, 1.0])
@pytest.mark.parametrize('stamps', ['recorded', 'now'])
def test_a_bag_carries_its_transforms_along(tmp_path: Path, stamps: str, rate: float) -> None:
    """Static and moving ones, each there for every image."""
    consumer = Consumer()
    listener = Listener(consumer)
    consumer.answer_images()
    bag = rec.write_swinging_bag(tmp_path / 'drive', 12)
    with consumer.replay(bag, rate=rate, stamps=stamps) as node:
        assert node.play()
        images = listener.images[:]
        heights = [listener.height(image) for image in images]
    # At the pace of the recording, a busy machine loses frames, or sends them too late for the
    # transforms that went ahead.
    assert len(images) == 12 if rate == 0 else images
    places = [rec.index_of(Frame.from_image(image).pixels) for image in images]
    late = [
        stamp_of(image) - rec.stamp_ns(place) for image, place in zip(images, places, strict=True)
    ]
    expected = [1.2 + rec.swing(rec.stamp_ns(place)) for place in places]
    tolerance = 1e-4
    if stamps == 'now' and rate:
        tolerance = 0.01 + rec.swing(rec.START_NS + max(late) - min(late))
    assert heights == pytest.approx(expected, abs=tolerance)


def test_transforms_of_a_bag_can_be_left_out(tmp_path: Path) -> None:
    consumer = Consumer()
    listener = Listener(consumer)
    consumer.answer_images()
    bag = rec.write_swinging_bag(tmp_path / 'drive', 3)
    with consumer.replay(bag, rate=0.0, transforms=False) as node:
        assert node.play()
    assert listener.buffer.all_frames_as_yaml() in ('', '[]')


@pytest.mark.parametrize(
    ('source', 'options', 'placed'),
    [
        ('street::2', {'vehicle_frame': 'base_link'}, ('base_link', 1.4)),
        ('street::2', {'vehicle_frame': ''}, None),
        ('street::2', {'vehicle_frame': 'camera'}, None),
        (SAMPLE, {}, ('base_link', 1.4)),
        (SAMPLE, {'frame_id': 'other', 'vehicle_frame': 'base_link'}, ('base_link', 1.4)),
    ],
)
def test_the_mount_of_a_recording_is_published(
    source: str, options: dict[str, str], placed: tuple[str, float] | None
) -> None:
    consumer = Consumer()
    listener = Listener(consumer)
    consumer.answer_images()
    with consumer.replay(source, rate=0.0, **options) as node:
        assert node.play()
        wait_for(listener.images)
        height = listener.height(listener.images[-1], placed[0] if placed else 'base_link')
    assert height == (pytest.approx(placed[1], abs=0.01) if placed else None)


def test_compressed_images_are_made_for_those_who_want_them(tmp_path: Path) -> None:
    consumer = Consumer()
    consumer.answer_images(CompressedImage, 'image/compressed')
    with consumer.replay(rec.write_folder(tmp_path / 'clip', 3), rate=0.0) as node:
        assert node.play()
    decoded = [Frame.from_compressed(image).pixels for image in consumer.images]
    assert [rec.index_of(pixels) for pixels in decoded] == [0, 1, 2]


def test_no_frame_is_sent_before_the_one_before_is_answered(tmp_path: Path) -> None:
    consumer = Consumer(answering=lambda place: place != 1)
    consumer.answer_images()
    clip = rec.write_folder(tmp_path / 'clip', 3)
    with consumer.replay(clip, rate=0.0, stamps='recorded', answer_timeout=2.0) as node:
        assert node.play()
    # The second one is sent again.
    stamps = [stamp_of(image) for image in consumer.images]
    assert len(stamps) == 4
    assert stamps[1] == stamps[2]


def test_nobody_listening_is_a_failure(tmp_path: Path) -> None:
    consumer = Consumer()
    reports = consumer.take('replay/report', String, LATCHED)
    clip = rec.write_folder(tmp_path / 'clip', 3)
    with consumer.replay(clip, rate=1.0, wait_timeout=0.2) as node:
        assert not node.play()
        wait_for(reports)
    failure = ReplayReport.from_json(reports[0].data).failure
    assert '0 of 1 subscribers came to' in failure
    assert failure.endswith('start the consumer, or remap the topics')


@pytest.mark.parametrize(
    ('parameters', 'kind', 'words'),
    [
        ({'input': ''}, ParameterError, 'input is empty; give a bag'),
        ({'input': '/no/where'}, SourceError, 'no such recording: /no/where'),
        ({'rate': -1.0}, ParameterError, 'rate'),
        ({'stamps': 'mine'}, ParameterError, 'stamps.*recorded, now'),
    ],
)
def test_wrong_parameters_are_refused(
    parameters: dict[str, Any], kind: type[Exception], words: str
) -> None:
    overrides = [
        Parameter(name, value=value)
        for name, value in {'input': 'street::1', **parameters}.items()
    ]
    with pytest.raises(kind, match=words):
        ReplayNode(parameter_overrides=overrides)
