# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The recorder node: what is published lands in one mcap, under its stamps."""

from __future__ import annotations

import signal
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import recordings as rec
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from listener_rig import ListenerRig
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage, Image
from small_disk import small_disk
from std_msgs.msg import Header, String

from segformer_ros.msg import DrivableArea
from segformer_ros.node.messages import LATCHED
from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.replay.player import ReplayReport
from segformer_ros.recordings import BagWriter, SourceOptions, open_source
from tools.demo.recorder_node import RecorderNode, _record
from tools.demo.recorder_topics import recorded_topics

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures('ros')]


class Rig(ListenerRig[RecorderNode]):
    """A recorder, and a node that publishes to it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / 'drive.mcap'
        super().__init__(RecorderNode, output=str(self.file), settle=0.2)

    def finish(self, answered: int) -> None:
        """Send the report and spin until the recorder is done."""
        report = ReplayReport(finished=True, answered=answered).to_json()
        self.send('replay/report', String(data=report), LATCHED)
        self.wait()
        self.node.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A recorder that ends with the test."""
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def header(seconds: int) -> Header:
    """A header with a stamp."""
    return Header(stamp=Time(sec=seconds), frame_id='camera')


def mask(seconds: int) -> Image:
    """A mask of one pixel."""
    return Image(header=header(seconds), height=1, width=1, encoding='mono8', step=1, data=[7])


def contents(file: Path) -> list[tuple[str, int, Any]]:
    """Last part of the topic, second and message of all that was recorded."""
    with AnyReader([file]) as reader:
        return [
            (c.topic.rpartition('/')[2], time // 10**9, reader.deserialize(data, c.msgtype))
            for c, time, data in reader.messages()
        ]


def test_messages_are_recorded_under_their_stamps(rig: Rig) -> None:
    for second in (5, 6):
        rig.send('segmentation/mask', mask(second))
        rig.send('drivable_area', DrivableArea(header=header(second), road_fraction=0.5))
    rig.finish(answered=2)
    found = contents(rig.file)
    assert sorted((topic, second) for topic, second, _ in found if topic != 'report') == [
        ('drivable_area', 5),
        ('drivable_area', 6),
        ('mask', 5),
        ('mask', 6),
    ]
    masks = [message for topic, _, message in found if topic == 'mask']
    assert masks[0].data.tolist() == [7]
    assert masks[0].header.frame_id == 'camera'


def test_overlays_are_recorded_as_video_too(rig: Rig) -> None:
    for second in (5, 6, 7):
        _, data = cv2.imencode('.jpg', rec.picture(second))
        sent = CompressedImage(header=header(second), format='bgr8; jpeg compressed bgr8')
        sent.data = array('B', data.tobytes())
        rig.send('segmentation/overlay/compressed', sent)
    rig.finish(answered=0)
    (topic,) = {topic for topic in topics_of(rig.file) if topic.endswith('overlay/video')}
    shown = [entry.frame for entry in open_source(rig.file, SourceOptions(topic=topic))]
    assert [rec.index_of(frame.pixels) for frame in shown if frame] == [5, 6, 7]
    assert [frame.stamp.sec for frame in shown if frame] == [5, 6, 7]


def topics_of(file: Path) -> set[str]:
    """Names of the topics of a bag."""
    with AnyReader([file]) as reader:
        return {connection.topic for connection in reader.connections}


def test_a_stamp_of_zero_takes_the_time_before_it(rig: Rig) -> None:
    rig.send('/diagnostics', DiagnosticArray())
    rig.executor.spin_once(timeout_sec=0.2)
    rig.send('segmentation/mask', mask(5))
    rig.executor.spin_once(timeout_sec=0.2)
    rig.send('/diagnostics', DiagnosticArray())
    rig.finish(answered=1)
    assert [second for topic, second, _ in contents(rig.file) if topic == 'diagnostics'] == [5]


def test_it_waits_for_masks_that_were_answered(rig: Rig) -> None:
    rig.send('segmentation/mask', mask(5))
    rig.send(
        'replay/report', String(data=ReplayReport(finished=True, answered=2).to_json()), LATCHED
    )
    rig.spin(1.0)
    assert not rig.node.done
    rig.send('segmentation/mask', mask(6))
    rig.finish(answered=2)
    assert [second for topic, second, _ in contents(rig.file) if topic == 'mask'] == [5, 6]


def test_it_waits_for_what_belongs_to_these_masks(rig: Rig) -> None:
    """A message that DDS sends again comes seconds later."""
    overlay = CompressedImage(format='bgr8; jpeg compressed bgr8')
    overlay.data = array('B', cv2.imencode('.jpg', rec.picture(0))[1].tobytes())
    for second in (5, 6):
        rig.send('segmentation/mask', mask(second))
    overlay.header = header(5)
    rig.send('segmentation/overlay/compressed', overlay)
    rig.send(
        'replay/report', String(data=ReplayReport(finished=True, answered=2).to_json()), LATCHED
    )
    rig.spin(1.0)
    assert not rig.node.done
    overlay.header = header(6)
    rig.send('segmentation/overlay/compressed', overlay)
    rig.finish(answered=2)
    assert [second for topic, second, _ in contents(rig.file) if topic == 'compressed'] == [5, 6]


def test_a_replay_that_waits_for_it_finds_it_known_to_the_segmentation_node(rig: Rig) -> None:
    """It answers with its diagnostics to a subscription later than those to its outputs."""
    image = '/'.join((rig.node.get_namespace(), 'image/compressed'))
    rig.spin(0.2)
    assert rig.node.count_subscribers('/diagnostics') > 0
    assert rig.node.count_subscribers(image) == 0
    rig.send('/diagnostics', DiagnosticArray())
    rig.spin(0.2)
    assert rig.node.count_subscribers(image) == 1


@pytest.mark.parametrize('masks', [1, 12])
def test_a_full_disk_ends_the_recording_in_a_line(
    tmp_path: Path, masks: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether it is full while messages come (in chunks of 1 MiB), or when the file is closed."""
    noise = np.random.default_rng(0).integers(0, 255, 400_000, np.uint8)
    with small_disk(tmp_path / 'disk', 300_000) as disk:
        rig = Rig(disk)
        rig.send('segmentation/mask', mask(5))

        def publish() -> None:
            publisher = rig.probe.create_publisher(Image, 'segmentation/mask', 100)
            for second in range(6, 6 + masks):
                message = mask(second)
                message.width = message.step = len(noise)
                message.data = noise.tobytes()
                publisher.publish(message)
                time.sleep(0.05)
            report = ReplayReport(finished=True, answered=1 + masks).to_json()
            rig.probe.create_publisher(String, 'replay/report', LATCHED).publish(
                String(data=report)
            )
            ended.wait()

        ended = threading.Event()
        publishing = threading.Thread(target=publish)
        publishing.start()
        recorded = _record(rig.node)
        ended.set()
        publishing.join()
        assert not recorded
        assert list(disk.iterdir()) == []
        rig.close()
    said = capfd.readouterr().err
    assert f'recorder_node: cannot write {disk}/drive.mcap' in said
    assert f'the disk is full (that of {disk})' in said


def test_an_interrupt_at_its_end_costs_no_recording(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo ends the replay first, whose report ends the recorder by itself."""
    rig.send('segmentation/mask', mask(5))
    report = ReplayReport(finished=True, answered=1).to_json()
    rig.send('replay/report', String(data=report), LATCHED)
    rig.wait()
    close = BagWriter.close

    def interrupted_close(writer: BagWriter) -> None:
        signal.raise_signal(signal.SIGINT)
        close(writer)

    monkeypatch.setattr(BagWriter, 'close', interrupted_close)
    with pytest.raises(KeyboardInterrupt):
        _record(rig.node)
    assert [second for topic, second, _ in contents(rig.file) if topic == 'mask'] == [5]


def test_every_topic_of_the_table_can_be_recorded() -> None:
    types = {topic.name: topic.msgtype for topic in recorded_topics()}
    assert types['segmentation/mask'] == 'sensor_msgs/msg/Image'
    assert types['drivable_area'] == 'segformer_ros/msg/DrivableArea'


def test_without_a_file_there_is_no_recorder() -> None:
    with pytest.raises(ParameterError, match='output is empty'):
        RecorderNode()
