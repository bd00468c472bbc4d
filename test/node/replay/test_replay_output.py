# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which transforms of a recording are published, when, and under which stamps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import recordings as rec

from segformer_ros.node.replay.replay_output import AHEAD, CarriedTransforms
from segformer_ros.recordings import open_source

pytestmark = pytest.mark.ros

MS = 1_000_000


class Topics:
    """Stands for a node; keeps what is published: (stamp in ns, child frame, height)."""

    def __init__(self) -> None:
        self.published: dict[str, list[list[tuple[int, str, float]]]] = {}

    def create_publisher(self, kind: Any, topic: str, qos: Any) -> Any:
        """Make a publisher that keeps all."""
        kept = self.published.setdefault(topic, [])
        return SimpleNamespace(publish=lambda message: kept.append(message.transforms))


def message(transforms: list[Any]) -> Any:
    """Stand-in of tf2_msgs/TFMessage, which the wheels have not."""
    found = []
    for one in transforms:
        stamp = one.header.stamp
        ns = stamp.sec * 10**9 + stamp.nanosec
        found.append((ns, one.child_frame_id, one.transform.translation.z))
    return SimpleNamespace(transforms=found)


def carried(tmp_path: Path, rate: float = 1.0) -> tuple[Topics, CarriedTransforms]:
    topics = Topics()
    source = open_source(rec.write_swinging_bag(tmp_path / 'drive', 20))
    transforms = CarriedTransforms(topics, message, source, rate)
    transforms.restart()
    return topics, transforms


def test_what_is_static_comes_once_and_before_all(tmp_path: Path) -> None:
    topics, transforms = carried(tmp_path)
    assert topics.published == {
        '/tf_static': [[(rec.START_NS, 'front_optical', 1.2)]],
        '/tf': [],
    }
    transforms.restart()
    assert len(topics.published['/tf_static']) == 1


def test_recorded_stamps_stay_and_come_a_little_ahead(tmp_path: Path) -> None:
    topics, transforms = carried(tmp_path)
    first = rec.START_NS - 100 * MS
    position = rec.START_NS
    transforms.advance(position, position)
    stamps = [one[0] for each in topics.published['/tf'] for one in each]
    assert stamps[0] == first
    assert position + AHEAD - 50 * MS < stamps[-1] <= position + AHEAD
    transforms.advance(position, position)
    assert len(topics.published['/tf']) == len(stamps)
    transforms.advance(position + 1000 * MS, position + 1000 * MS)
    stamps = [one[0] for each in topics.published['/tf'] for one in each]
    assert stamps == list(range(first, stamps[-1] + 1, 50 * MS))
    transforms.restart()
    transforms.advance(position, position)
    assert topics.published['/tf'][len(stamps)][0][0] == first


@pytest.mark.parametrize('rate', [1.0, 2.0])
def test_other_stamps_keep_their_distance_from_the_frames(tmp_path: Path, rate: float) -> None:
    topics, transforms = carried(tmp_path, rate)
    now = 5_000_000_000_000
    transforms.advance(rec.START_NS, now)
    for (stamp, _, height), *_ in topics.published['/tf']:
        assert height == pytest.approx(0.1 * rate * (stamp - now) / 1e9)


def test_without_a_pace_each_frame_has_its_own_transforms_around_it(tmp_path: Path) -> None:
    """Frames come as fast as they are answered, stamped by this machine's clock."""
    topics, transforms = carried(tmp_path, 0.0)
    for index in range(8):
        now = 5_000_000_000_000 + index * 3 * MS
        position = rec.stamp_ns(index) + 20 * MS
        transforms.advance(position, now)
        (before, _, low), (after, _, high) = topics.published['/tf'][index]
        assert before <= now <= after
        height = low + (high - low) * (now - before) / (after - before)
        assert height == pytest.approx(rec.swing(position), abs=1e-5)


def test_a_frame_may_be_placed_beside_those_of_the_recording(tmp_path: Path) -> None:
    from geometry_msgs.msg import TransformStamped

    topics, transforms = carried(tmp_path)
    transforms.place(TransformStamped(child_frame_id='other'))
    children = [one[1] for one in topics.published['/tf_static'][-1]]
    assert children == ['front_optical', 'other']


def test_broken_messages_are_left_out(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, moving = bag.topic('/front/image', rec.IMAGE), bag.topic('/tf', rec.TF)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', rec.START_NS), rec.START_NS)
        writer.write(moving, rec.START_NS, b'\x00\x01\x00\x00\xff')
        bag.write(moving, rec.transforms(), rec.START_NS + 1)
        bag.write(moving, rec.transforms(rec.transform('a', 'b')), rec.START_NS + 2)
    found = list(open_source(tmp_path / 'drive').moving_transforms())
    assert [[one.child_frame_id for one in each] for each in found] == [['b']]


def test_what_has_no_transforms_carries_none(tmp_path: Path) -> None:
    source = open_source(rec.write_folder(tmp_path / 'clip', 2))
    assert not source.has_transforms
    assert open_source(rec.write_swinging_bag(tmp_path / 'drive', 2)).has_transforms
