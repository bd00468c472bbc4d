# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Storage files: ROS 2 types with any rosbags, and Zstandard that is damaged or too large."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import pytest
import rosbags.typesys
import zstandard

from segformer_ros.formats.limits import SizeError
from segformer_ros.recordings.bag_storage import (
    ZSTD_MAGIC,
    decompress,
    field_names,
    ros_types,
    unpack_file,
)

FIELDS = ['header', 'format', 'data']


def test_fields_of_a_message() -> None:
    assert field_names(ros_types(), 'sensor_msgs/msg/CompressedImage') == FIELDS


def test_a_rosbags_without_jazzy_gives_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stores(Enum):
        ROS2_FOXY = 'ros2_foxy'
        ROS2_HUMBLE = 'ros2_humble'

    monkeypatch.setattr(rosbags.typesys, 'Stores', Stores)
    monkeypatch.setattr(rosbags.typesys, 'get_typestore', lambda store: store)
    assert ros_types() is Stores.ROS2_HUMBLE


def test_fields_in_a_rosbags_before_0_10() -> None:
    old = SimpleNamespace(FIELDDEFS={'a/msg/B': ([], [('x', (1, 2)), ('y', (1, 2))])})
    assert field_names(old, 'a/msg/B') == ['x', 'y']


DATA = bytes(range(256)) * 400


def test_a_frame() -> None:
    packed = zstandard.compress(DATA)
    assert decompress(packed) == decompress(memoryview(packed)) == DATA
    assert packed.startswith(ZSTD_MAGIC)


def test_a_frame_that_does_not_say_its_size() -> None:
    stream = zstandard.ZstdCompressor().compressobj()
    packed = stream.compress(DATA) + stream.flush()
    assert decompress(packed) == DATA
    with pytest.raises(SizeError, match='hold more than 1000 bytes'):
        decompress(packed, most=1000)
    with pytest.raises(ValueError, match='no whole zstd frame'):
        decompress(packed[:-20])


@pytest.mark.parametrize('packed', [b'', b'no frame', zstandard.compress(DATA)[:-20]])
def test_what_is_no_whole_frame(packed: bytes) -> None:
    with pytest.raises(ValueError, match='no whole zstd frame'):
        decompress(packed)


def test_a_frame_that_would_fill_the_memory_is_not_unpacked() -> None:
    packed = zstandard.compress(bytes(1 << 30))
    assert len(packed) < 100_000
    with pytest.raises(SizeError, match=f'hold more than {256 << 20} bytes'):
        decompress(packed)


@pytest.mark.parametrize('kept', [1.0, 0.6])
def test_a_file_is_unpacked_as_far_as_it_is_whole(tmp_path: Path, kept: float) -> None:
    packed, target = tmp_path / 'x.zstd', tmp_path / 'x'
    stream = zstandard.ZstdCompressor().compressobj()
    content = b''.join(
        stream.compress(DATA) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for _ in range(50)
    )
    packed.write_bytes(content[: int(len(content) * kept)])
    unpack_file(packed, target)
    found = target.read_bytes()
    assert (50 * DATA).startswith(found) and len(found) > 10 * len(DATA)
