# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Bags that a run leaves behind."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings as rec
from mcap.reader import make_reader
from mcap.records import Chunk, Footer, Message
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader

from segformer_ros.camera import CameraPose, pose_from_transform
from segformer_ros.recordings import BagWriter, RecordingError, open_source
from segformer_ros.recordings.bag_writer import mount_message, quaternion, recording_types

AREA = 'segformer_ros/msg/DrivableArea'


def drivable_area() -> object:
    """A DrivableArea message with one number in each kind of field."""
    types = recording_types().types
    empty = np.zeros(0, np.float32)
    return types[AREA](
        header=rec.header(5),
        valid=True,
        reason='',
        calibrated=False,
        pose_source='',
        age=types['builtin_interfaces/msg/Duration'](0, 7),
        image_height=48,
        image_width=64,
        road_fraction=0.25,
        sidewalk_fraction=0.0,
        column=np.array([0, 63], np.float32),
        boundary_row=np.array([3, -1], np.int32),
        blocking_class=np.array([13, 255], np.uint8),
        confidence=np.ones(2, np.float32),
        vehicle_frame='',
        bearing=empty,
        free_distance=empty,
        distance_sigma=empty,
        corridor_width=2.0,
        corridor_distance=float('nan'),
        corridor_sigma=float('nan'),
        corridor_blocking_class=255,
    )


def write_drive(path: Path) -> None:
    """Two frames and one own message."""
    with BagWriter(path) as bag:
        bag.add_topic('/image', rec.IMAGE)
        bag.add_topic('/drivable_area', AREA)
        for index in range(2):
            message = rec.image(rec.picture(index), 'bgr8', rec.stamp_ns(index))
            bag.write_message('/image', message, rec.stamp_ns(index))
        bag.write_message('/drivable_area', drivable_area(), rec.stamp_ns(1))


def test_a_bag_is_one_file_that_reads_back(tmp_path: Path) -> None:
    write_drive(tmp_path / 'drive.mcap')
    assert [path.name for path in tmp_path.iterdir()] == ['drive.mcap']
    frames = [entry.frame for entry in open_source(tmp_path / 'drive.mcap')]
    assert [rec.index_of(frame.pixels) for frame in frames if frame] == [0, 1]


def test_the_bag_carries_the_definition_of_our_own_message(tmp_path: Path) -> None:
    write_drive(tmp_path / 'drive.mcap')
    # AnyReader knows no types but those that it finds in the bag.
    with AnyReader([tmp_path / 'drive.mcap']) as reader:
        chosen = [c for c in reader.connections if c.msgtype == AREA]
        ((_, _, data),) = reader.messages(chosen)
        message = reader.deserialize(data, AREA)
    assert message.boundary_row.tolist() == [3, -1]  # type: ignore[attr-defined]
    assert message.road_fraction == 0.25  # type: ignore[attr-defined]


def test_an_interrupted_recording_is_whole(tmp_path: Path) -> None:
    def interrupted() -> None:
        with BagWriter(tmp_path / 'drive.mcap') as bag:
            bag.add_topic('/image', rec.IMAGE)
            bag.write_message('/image', rec.image(rec.picture(3), 'bgr8', 1), 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    source = open_source(tmp_path / 'drive.mcap')
    assert (len(source), source.notes) == (1, ())


def test_damage_of_a_recording_is_seen_by_its_readers(tmp_path: Path) -> None:
    """Noise is not compressed but copied, so that only a checksum tells of other bytes."""
    noise = np.random.default_rng(0).integers(0, 255, (*rec.SIZE, 3), np.uint8)
    with BagWriter(tmp_path / 'drive.mcap') as bag:
        bag.add_topic('/image', rec.IMAGE)
        bag.write_message('/image', rec.image(noise, 'bgr8', 1), 1)
    data = bytearray((tmp_path / 'drive.mcap').read_bytes())
    middle = data.index(noise[20].tobytes())
    data[middle : middle + 4] = b'none'
    (tmp_path / 'drive.mcap').write_bytes(data)
    (entry,) = open_source(tmp_path / 'drive.mcap')
    assert 'damaged chunk' in (entry.error or '')


def test_the_official_reader_opens_a_recording_by_its_checksums(tmp_path: Path) -> None:
    """Of chunks and index; each channel has the schema of its type, as ROS 2 tools expect it."""
    write_drive(tmp_path / 'drive.mcap')
    with (tmp_path / 'drive.mcap').open('rb') as file:
        records = list(StreamReader(file, emit_chunks=True, validate_crcs=True).records)
    chunks = [record for record in records if isinstance(record, Chunk)]
    (footer,) = (record for record in records if isinstance(record, Footer))
    assert chunks and all(chunk.uncompressed_crc for chunk in chunks)
    assert footer.summary_crc and footer.summary_start
    with (tmp_path / 'drive.mcap').open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == 'ros2'
        found = [
            (channel.topic, schema.name, schema.encoding, channel.message_encoding)
            for schema, channel, _ in reader.iter_messages()
            if schema is not None
        ]
        summary = reader.get_summary()
    assert sorted(set(found)) == [
        ('/drivable_area', AREA, 'ros2msg', 'cdr'),
        ('/image', rec.IMAGE, 'ros2msg', 'cdr'),
    ]
    assert len(found) == 3
    assert summary is not None and summary.statistics is not None
    assert summary.statistics.message_count == 3


def test_messages_lie_in_the_order_of_their_times(tmp_path: Path) -> None:
    """Those of masks, which come later than images of later stamps; too late ones as they come."""
    second = 1_000_000_000
    times = [time * second for time in (5, 7, 6, 8, 20, 9, 23, 22)]
    with BagWriter(tmp_path / 'drive.mcap') as bag:
        bag.add_topic('/image', rec.IMAGE)
        for time in times:
            bag.write_message('/image', rec.image(rec.picture(0), 'bgr8', time), time)
    with (tmp_path / 'drive.mcap').open('rb') as file:
        messages = [m for m in StreamReader(file).records if isinstance(m, Message)]
    recorded = [message.log_time // second for message in messages]
    published = [message.publish_time // second for message in messages]
    assert published == [5, 6, 7, 8, 9, 20, 22, 23]
    assert recorded == published
    frames = [entry.frame for entry in open_source(tmp_path / 'drive.mcap')]
    assert [frame.stamp.ns // second for frame in frames if frame] == published


def test_times_of_recording_never_go_back(tmp_path: Path) -> None:
    """Of a message that comes too late to be put in order; that of publishing is its stamp."""
    second = 1_000_000_000
    with BagWriter(tmp_path / 'drive.mcap') as bag:
        bag.add_topic('/image', rec.IMAGE)
        for time in (5, 6, 20, 4, 21):
            message = rec.image(rec.picture(0), 'bgr8', time * second)
            bag.write_message('/image', message, time * second)
    with (tmp_path / 'drive.mcap').open('rb') as file:
        messages = [m for m in StreamReader(file).records if isinstance(m, Message)]
    assert [message.log_time // second for message in messages] == [5, 6, 6, 20, 21]
    assert [message.publish_time // second for message in messages] == [5, 6, 4, 20, 21]


@pytest.mark.parametrize(('latched', 'durability'), [(True, 1), (False, 2)])
def test_topics_are_offered_as_they_were(tmp_path: Path, latched: bool, durability: int) -> None:
    """By the numbers of rmw, which `ros2 bag play` of every distribution reads."""
    with BagWriter(tmp_path / 'drive.mcap') as bag:
        bag.add_topic('/image', rec.IMAGE, latched)
        bag.write_message('/image', rec.image(rec.picture(0), 'bgr8', 1), 1)
    with AnyReader([tmp_path / 'drive.mcap']) as reader:
        (connection,) = reader.connections
        ((offered,),) = (connection.ext.offered_qos_profiles,)  # type: ignore[union-attr]
    assert offered.durability.value == durability
    assert (offered.reliability.name, offered.depth) == ('RELIABLE', 10)


def test_what_fails_leaves_no_recording(tmp_path: Path) -> None:
    def failing() -> None:
        with BagWriter(tmp_path / 'drive.mcap') as bag:
            bag.add_topic('/image', rec.IMAGE)
            bag.write_message('/image', rec.image(rec.picture(3), 'bgr8', 1), 1)
            raise ValueError

    with pytest.raises(ValueError, match='^$'):
        failing()
    assert list(tmp_path.iterdir()) == []


def test_a_recording_replaces_an_older_one_and_an_empty_one_leaves_none(tmp_path: Path) -> None:
    (tmp_path / 'drive.mcap').write_text('old')
    write_drive(tmp_path / 'drive.mcap')
    assert len(open_source(tmp_path / 'drive.mcap')) == 2
    with BagWriter(tmp_path / 'other.mcap') as bag:
        bag.add_topic('/image', rec.IMAGE)
    assert [path.name for path in tmp_path.iterdir()] == ['drive.mcap']


def test_a_message_of_its_fields(tmp_path: Path) -> None:
    header = {'stamp': {'sec': 5, 'nanosec': 7}, 'frame_id': 'camera'}
    fields = {'header': header, 'format': 'png', 'data': np.arange(3, dtype=np.uint8)}
    with BagWriter(tmp_path / 'x.mcap') as bag:
        bag.add_topic('/image', rec.COMPRESSED)
        bag.write_fields('/image', fields, 5)
        del fields['data']
        with pytest.raises(KeyError, match='data'):
            bag.write_fields('/image', fields, 6)
    with AnyReader([tmp_path / 'x.mcap']) as reader:
        ((_, _, data),) = reader.messages()
        message: Any = reader.deserialize(data, rec.COMPRESSED)
    assert (message.header.stamp.nanosec, message.header.frame_id) == (7, 'camera')
    assert message.data.tolist() == [0, 1, 2]


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    words = 'type my_msgs/msg/Thing, which has no definition'
    with BagWriter(tmp_path / 'x.mcap') as bag, pytest.raises(RecordingError, match=words):
        bag.add_topic('/thing', 'my_msgs/msg/Thing')


def test_without_mcap_it_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'mcap.writer', None)
    with pytest.raises(RecordingError, match=r'drive\.mcap cannot be written .* pip install mcap'):
        BagWriter(tmp_path / 'drive.mcap')
    assert list(tmp_path.iterdir()) == []


POSES = [
    CameraPose(1.4),
    CameraPose(0.5, pitch=0.3, roll=-0.2, yaw=2.9, x=1.0, y=-0.5),
    CameraPose(2.0, pitch=-0.7, yaw=-1.6),
    CameraPose(1.0, roll=3.0),
]


@pytest.mark.parametrize('pose', POSES)
def test_the_pose_comes_back_from_its_transform(pose: CameraPose) -> None:
    transform = mount_message(pose, 'base_link', 'camera', 5_000_000_007).transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ('base_link', 'camera')
    assert (transform.header.stamp.sec, transform.header.stamp.nanosec) == (5, 7)
    place, turn = transform.transform.translation, transform.transform.rotation
    found = pose_from_transform((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))
    assert np.allclose(found.rotation(), pose.rotation(), atol=1e-9)
    assert np.allclose(found.position, pose.position)


def test_half_turns_have_a_unit_quaternion() -> None:
    for axis in range(3):
        rotation = -np.eye(3)
        rotation[axis, axis] = 1.0
        found = quaternion(rotation)
        assert math.isclose(sum(part * part for part in found), 1.0)
        assert abs(found[axis]) == pytest.approx(1.0)
