# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Shards and their results on disk."""

from pathlib import Path

import cv2
import numpy as np
import painted
import pytest

from segformer_ros.classes import ClassMap, SegClass, load_class_map
from segformer_ros.evaluation.frame_views import Picture
from segformer_ros.evaluation.shards import (
    EvaluationError,
    FrameRecord,
    Predictions,
    Shard,
    ShardResult,
    plan_shards,
)
from segformer_ros.recordings import open_source


def test_plan_covers_every_frame_once(tmp_path: Path) -> None:
    counts = (33, 16, 1)
    sources = [
        open_source(painted.write_folders(tmp_path / str(n), count)[0])
        for n, count in enumerate(counts)
    ]
    shards = plan_shards(sources, 16)
    assert shards == [
        Shard(0, 0, 0, 16),
        Shard(1, 0, 16, 32),
        Shard(2, 0, 32, 33),
        Shard(3, 1, 0, 16),
        Shard(4, 2, 0, 1),
    ]


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    png = np.arange(9, dtype=np.uint8)
    result = ShardResult(
        number=7,
        frames=[FrameRecord(0, 3, 'frame3', stamp_ns=2**61, note='a "note"', score=1.5)],
        matrices=np.arange(12, dtype=np.uint32).reshape(1, 3, 4),
        counts={'confusion': np.array([[2**62]]), 'flicker': np.zeros((0, 2), np.int64)},
        pictures=[Picture(3, 0.1 + 0.2, png, png[:4], png[:0], png[:2])],
        facts={'engine': 'fake'},
    )
    path = tmp_path / 'part.npz'
    path.write_bytes(result.to_bytes())
    again = ShardResult.from_bytes(path.read_bytes())
    assert (again.number, again.frames, again.facts) == (7, result.frames, result.facts)
    np.testing.assert_array_equal(again.matrices, result.matrices)
    assert again.counts['confusion'][0, 0] == 2**62
    assert again.pictures[0].wrong == 0.1 + 0.2
    np.testing.assert_array_equal(again.pictures[0].truth, png[:4])
    assert [file.name for file in tmp_path.iterdir()] == ['part.npz']


TWO = ClassMap('two', (SegClass(0, 'ground', (0, 0, 0)), SegClass(1, 'rest', (9, 9, 9))))


def test_label_ids_of_the_data_set(tmp_path: Path) -> None:
    predictions = Predictions(tmp_path, load_class_map('cityscapes'))
    labels = np.array([[0, 13, 18, 255]], np.uint8)
    predictions.write('aachen', 'aachen_000000_000019', labels)
    written = cv2.imread(str(tmp_path / 'aachen/aachen_000000_000019.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, [[7, 26, 33, 0]])
    np.testing.assert_array_equal(predictions.read('aachen', 'aachen_000000_000019'), labels)


def test_train_ids_where_a_class_map_has_no_others(tmp_path: Path) -> None:
    predictions = Predictions(tmp_path, TWO)
    labels = np.array([[0, 1, 255]], np.uint8)
    predictions.write('room', '000001', labels)
    written = cv2.imread(str(tmp_path / 'room/000001.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, labels)
    np.testing.assert_array_equal(predictions.read('room', '000001'), labels)


def test_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r'7\.png is missing or not an image'):
        Predictions(tmp_path, TWO).read('room', '7')
