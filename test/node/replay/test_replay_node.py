"""The replay node against a real consumer, over DDS."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rclpy
import recordings as rec
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from segformer_ros.camera import pose_from_transform
from segformer_ros.frame import Frame
from segformer_ros.node.messages import LATCHED
from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.replay.replay_node import ReplayNode
from segformer_ros.node.replay.replay_report import ReplayReport
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
        spinner = Thread(target=executor.spin, daemon=True)
        spinner.start()
        try:
            yield node
        finally:
            executor.shutdown()
            spinner.join()
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


class Broadcaster:
    """Stands for tf2_ros.StaticTransformBroadcaster, which the wheels have not."""

    def __init__(self, node: Any) -> None:
        self.sendTransform = _sent.append


_sent: list[Any] = []


@pytest.mark.parametrize(('vehicle_frame', 'count'), [('base_link', 1), ('', 0), ('camera', 0)])
def test_the_mount_of_a_recording_is_published(
    monkeypatch: pytest.MonkeyPatch, vehicle_frame: str, count: int
) -> None:
    tf2_ros = SimpleNamespace(StaticTransformBroadcaster=Broadcaster)
    monkeypatch.setitem(sys.modules, 'tf2_ros', tf2_ros)
    _sent.clear()
    consumer = Consumer()
    consumer.answer_images()
    with consumer.replay(SAMPLE, rate=0.0, vehicle_frame=vehicle_frame) as node:
        assert node.play()
    assert len(_sent) == count
    for sent in _sent:
        assert (sent.header.frame_id, sent.child_frame_id) == ('base_link', 'camera')
        place, turn = sent.transform.translation, sent.transform.rotation
        pose = pose_from_transform(
            (place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w), 'camera'
        )
        assert (pose.height, pose.pitch) == pytest.approx((1.4, np.deg2rad(2.0)))


def test_without_tf2_a_recording_plays_without_its_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    consumer = Consumer()
    consumer.answer_images()
    with consumer.replay('street::2', rate=0.0, vehicle_frame='base_link') as node:
        assert node.play()
    assert len(consumer.images) == 2


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
