# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The worst frames: the same for any split into shards."""

import cv2
import numpy as np

from segformer_ros.evaluation.frame_views import PICTURE_WIDTH, WINDOW, WorstFrames

IMAGE = np.zeros((6, 8, 3), np.uint8)
LABELS = np.zeros((6, 8), np.uint8)


def worst_of(wrongs: dict[int, float], limit: int) -> list[tuple[int, float]]:
    frames = WorstFrames(limit)
    for index, wrong in wrongs.items():
        frames.offer(index, wrong, IMAGE, LABELS, LABELS)
    return [(picture.index, picture.wrong) for picture in frames.take()]


def test_one_frame_of_each_window_worst_first() -> None:
    wrongs = {0: 0.1, 1: 0.5, 2: 0.4, WINDOW: 0.3, WINDOW + 1: 0.2, 2 * WINDOW: 0.6}
    assert worst_of(wrongs, 3) == [(2 * WINDOW, 0.6), (1, 0.5), (WINDOW, 0.3)]
    assert worst_of(wrongs, 2) == [(2 * WINDOW, 0.6), (1, 0.5)]


def test_of_equals_the_first() -> None:
    assert worst_of({3: 0.5, 4: 0.5, WINDOW: 0.5}, 1) == [(3, 0.5)]


def test_none_are_kept_where_none_are_wanted() -> None:
    assert worst_of({0: 1.0}, 0) == []


def test_the_union_of_shards_holds_the_worst_of_all() -> None:
    rng = np.random.default_rng(1)
    wrongs = {index: float(value) for index, value in enumerate(rng.random(20 * WINDOW))}
    whole = worst_of(wrongs, 4)
    parts = [
        entry
        for start in range(0, len(wrongs), 5 * WINDOW)
        for entry in worst_of({i: wrongs[i] for i in range(start, start + 5 * WINDOW)}, 4)
    ]
    assert sorted(parts, key=lambda entry: -entry[1])[:4] == whole


def test_large_frames_are_made_smaller_with_labels_that_stay_labels() -> None:
    frames = WorstFrames(1)
    labels = np.full((1080, 1920), 255, np.uint8)
    labels[:, 960:] = 13
    frames.offer(0, 0.5, np.zeros((1080, 1920, 3), np.uint8), labels, labels)
    picture = frames.take()[0]
    shown = cv2.imdecode(picture.truth, cv2.IMREAD_UNCHANGED)
    assert shown is not None
    assert shown.shape == (540, PICTURE_WIDTH)
    assert set(np.unique(shown).tolist()) == {13, 255}
