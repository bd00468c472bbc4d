# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.classes import ClassMap, ClassMapError
from segformer_ros.drivable import (
    CLASS_NONE,
    ROW_NONE,
    BoundaryConfig,
    BoundaryExtractor,
    DrivableError,
)

ROAD, SIDEWALK, WALL, POLE, TERRAIN, SKY, CAR = 0, 1, 3, 5, 9, 10, 13


def road(height: int = 60, width: int = 64, horizon: int = 20) -> np.ndarray:
    labels = np.zeros((height, width), np.uint8)
    labels[:horizon] = SKY
    return labels


def extractor(class_map: ClassMap, **settings: object) -> BoundaryExtractor:
    return BoundaryExtractor(BoundaryConfig(**settings), class_map)  # type: ignore[arg-type]


def test_boundary_row_class_and_shares(class_map: ClassMap) -> None:
    labels = road()
    labels[30:50, 16:32] = CAR
    labels[:, 60:] = SIDEWALK
    boundary = extractor(class_map, columns=16).extract(labels)
    assert boundary.columns.shape == boundary.rows.shape == (16,)
    assert boundary.rows[:4].tolist() == [19] * 4
    assert boundary.rows[4:8].tolist() == [49] * 4
    assert boundary.rows[15] == 59
    assert boundary.blocking_class[[0, 5, 15]].tolist() == [SKY, CAR, SIDEWALK]
    assert boundary.sidewalk_fraction == pytest.approx(4 / 64)
    assert boundary.road_fraction == pytest.approx((40 * 60 - 16 * 20) / labels.size)
    assert np.isnan(boundary.confidence).all()


def test_span_reports_the_thin_pole_within_it(class_map: ClassMap) -> None:
    labels = road(width=1920)
    labels[10:45, 903:905] = POLE
    boundary = extractor(class_map, columns=128).extract(labels)
    at = int(np.argmax(boundary.rows))
    assert boundary.rows[at] == 44
    assert boundary.blocking_class[at] == POLE
    assert boundary.columns[at] in (903, 904)
    assert np.count_nonzero(boundary.rows == 44) == 1


def test_all_road_has_no_blocker(class_map: ClassMap) -> None:
    boundary = extractor(class_map).extract(np.zeros((40, 300), np.uint8))
    assert (boundary.rows == ROW_NONE).all()
    assert (boundary.blocking_class == CLASS_NONE).all()
    assert boundary.road_fraction == 1.0


def test_all_sky_is_blocked_from_the_bottom_row(class_map: ClassMap) -> None:
    boundary = extractor(class_map).extract(np.full((40, 300), SKY, np.uint8))
    assert (boundary.rows == 39).all()
    assert (boundary.blocking_class == SKY).all()
    assert boundary.road_fraction == 0.0


@pytest.mark.parametrize(
    ('group', 'row'), [('road', 49), ('road+sidewalk', 39), ('road+sidewalk+terrain', 19)]
)
def test_what_is_drivable_is_configured(class_map: ClassMap, group: str, row: int) -> None:
    labels = road()
    labels[40:50] = SIDEWALK
    labels[30:40] = TERRAIN
    assert (extractor(class_map, drivable=group).extract(labels).rows == row).all()


def test_unknown_drivable_class_is_refused(class_map: ClassMap) -> None:
    with pytest.raises(ClassMapError, match="no class 'lava'"):
        extractor(class_map, drivable='road+lava')


def test_hood_is_ignored_but_not_what_hides_behind_it(class_map: ClassMap) -> None:
    labels = road()
    labels[50:] = CAR
    boundary = extractor(class_map, hood=10 / 60).extract(labels)
    assert (boundary.rows == 19).all()
    labels[49] = CAR
    assert (extractor(class_map, hood=10 / 60).extract(labels).rows == 49).all()


def test_image_that_is_all_hood_is_not_free(class_map: ClassMap) -> None:
    boundary = extractor(class_map, columns=64, hood=0.999).extract(road())
    assert (boundary.rows == 59).all()
    assert (boundary.blocking_class == CLASS_NONE).all()


def test_island_across_a_barrier_is_blocked_by_the_barrier(class_map: ClassMap) -> None:
    labels = road()
    labels[:, 48:50] = WALL
    boundary = extractor(class_map, columns=64).extract(labels)
    assert (boundary.rows[:48] == 19).all()
    assert (boundary.rows[48:] == 59).all()
    assert (boundary.blocking_class[48:] == WALL).all()


def test_doubtful_road_is_not_free(class_map: ClassMap) -> None:
    labels = road()
    confidence = np.full(labels.shape, 250, np.uint8)
    confidence[40:45] = 60
    assert (extractor(class_map).extract(labels, confidence).rows == 19).all()
    strict = extractor(class_map, min_confidence=0.5).extract(labels, confidence)
    assert (strict.rows == 44).all()
    assert (strict.blocking_class == CLASS_NONE).all()


def test_confidence_is_that_of_the_blocker(class_map: ClassMap) -> None:
    labels = road()
    confidence = np.full(labels.shape, 255, np.uint8)
    confidence[:20] = 51
    boundary = extractor(class_map).extract(labels, confidence)
    assert boundary.confidence == pytest.approx(np.full(64, 0.2), abs=1e-6)


def test_unlabelled_pixels_block(class_map: ClassMap) -> None:
    labels = road()
    labels[40, :] = 255
    boundary = extractor(class_map).extract(labels)
    assert (boundary.rows == 40).all()
    assert (boundary.blocking_class == CLASS_NONE).all()


def test_inputs_stay_as_they_are(class_map: ClassMap) -> None:
    labels = road()
    labels[40, 30] = POLE
    labels[:, 50] = WALL
    confidence = np.full(labels.shape, 200, np.uint8)
    confidence[30, 30] = 0
    given = labels.copy(), confidence.copy()
    for settings in ({'speckle': 5}, {'speckle': 5, 'min_confidence': 0.5}):
        maker = extractor(class_map, **settings)
        first, again = (maker.extract(labels, confidence) for _ in range(2))
        assert np.array_equal(labels, given[0])
        assert np.array_equal(confidence, given[1])
        assert np.array_equal(first.rows, again.rows)


@pytest.mark.parametrize(
    'labels',
    [np.zeros((4, 4, 1), np.uint8), np.zeros((0, 4), np.uint8), np.zeros((4, 4), np.int32)],
)
def test_what_is_no_label_map_is_refused(class_map: ClassMap, labels: np.ndarray) -> None:
    with pytest.raises(DrivableError, match='a label map is'):
        extractor(class_map).extract(labels)


def test_confidence_of_another_size_is_refused(class_map: ClassMap) -> None:
    with pytest.raises(DrivableError, match='this one is .4, 5. uint8'):
        extractor(class_map).extract(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8))


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'columns': 0}, 'at least one column'),
        ({'front': (0.7, 0.3)}, '0 <= left < right <= 1'),
        ({'speckle': -1}, 'speckle=-1 pixels is negative'),
        ({'speckle_size': 20.0}, 'outside 0..1'),
        ({'min_confidence': 50.0}, 'outside 0..1'),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(DrivableError, match=words):
        BoundaryConfig(**settings)  # type: ignore[arg-type]
