# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The Cityscapes layout as a source."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import recordings as rec

from segformer_ros.recordings import SourceError, SourceOptions, open_source

ROAD, CAR, UNLABELLED = 7, 26, 0
"""Label ids of Cityscapes; road is train id 0, car 13."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cities of `val`: one with label ids and instances, one with train ids."""
    ids = np.full(rec.SIZE, ROAD, np.uint8)
    ids[:10], ids[10:20] = CAR, UNLABELLED
    instances = np.where(ids == CAR, np.uint16(CAR * 1000 + 4), ids)
    truth = tmp_path / 'gtFine' / 'val'
    for index, city in enumerate(('aachen', 'bonn')):
        stem = f'{city}_000000_000019'
        image = tmp_path / 'leftImg8bit' / 'val' / city / f'{stem}_leftImg8bit.png'
        rec.write_png(image, rec.picture(index))
        if city == 'aachen':
            rec.write_png(truth / city / f'{stem}_gtFine_labelIds.png', ids)
            rec.write_png(truth / city / f'{stem}_gtFine_instanceIds.png', instances)
        else:
            rec.write_png(truth / city / f'{stem}_gtFine_labelTrainIds.png', rec.labels(5))
    return tmp_path


@pytest.mark.parametrize('inside', ['.', 'leftImg8bit', 'leftImg8bit/val'])
def test_images_are_found_from_every_level(root: Path, inside: str) -> None:
    source = open_source(root / inside)
    assert source.labelled
    assert [entry.key for entry in source] == ['aachen_000000_000019', 'bonn_000000_000019']


def test_one_city_alone(root: Path) -> None:
    source = open_source(root / 'leftImg8bit' / 'val' / 'bonn')
    assert [rec.index_of(entry.frame.pixels) for entry in source if entry.frame] == [1]


def test_label_ids_become_train_ids(root: Path) -> None:
    aachen, bonn = open_source(root)
    assert aachen.labels is not None
    assert [int(aachen.labels[row, 0]) for row in (0, 15, 30)] == [13, 255, 0]
    rec.assert_labels(bonn.labels, 5)


def test_instances_are_the_single_objects(root: Path) -> None:
    aachen, bonn = open_source(root)
    assert aachen.truth.instances is not None
    assert np.unique(aachen.truth.instances).tolist() == [0, CAR * 1000 + 4]
    assert bonn.truth.instances is None


def test_a_missing_label_file_leaves_the_frame(root: Path) -> None:
    (root / 'gtFine/val/bonn/bonn_000000_000019_gtFine_labelTrainIds.png').unlink()
    bonn = list(open_source(root))[1]
    assert bonn.frame is not None
    assert 'bonn_000000_000019_gtFine_labelIds.png' in (bonn.error or '')


def test_values_that_are_no_label_ids_are_told_of(root: Path) -> None:
    ids = np.full(rec.SIZE, 77, np.uint8)
    ids[0], ids[1] = 255, 33
    rec.write_png(root / 'gtFine/val/aachen/aachen_000000_000019_gtFine_labelIds.png', ids)
    entry = next(iter(open_source(root)))
    assert entry.labels is not None
    assert entry.labels[:3, 0].tolist() == [255, 18, 255]
    assert "label ids that 'cityscapes' does not have, not scored: 77 (" in (entry.error or '')


def test_a_label_folder_replaces_the_truth_beside_the_images(root: Path, tmp_path: Path) -> None:
    rec.write_png(tmp_path / 'other/aachen_000000_000019.png', rec.labels(7))
    source = open_source(root, SourceOptions(labels=tmp_path / 'other'))
    assert (open_source(root).class_map, source.class_map) == ('cityscapes', '')
    aachen, bonn = source
    rec.assert_labels(aachen.labels, 7)
    assert aachen.truth.instances is None
    assert 'no label image bonn_000000_000019.png' in (bonn.error or '')
    with pytest.raises(SourceError, match='no label folder'):
        open_source(root, SourceOptions(labels=tmp_path / 'none'))


def test_without_truth_there_are_the_images(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / 'gtFine')
    source = open_source(root)
    assert not source.labelled
    assert [entry.error for entry in source] == [None, None]
    rec.write_png(tmp_path / 'other/bonn_000000_000019.png', rec.labels(7))
    assert open_source(root, SourceOptions(labels=tmp_path / 'other')).labelled


@pytest.fixture
def unpacked(root: Path) -> Path:
    """The two archives, each unpacked into a folder of its own name."""
    for name in ('leftImg8bit', 'gtFine'):
        place = root / f'{name}_trainvaltest'
        place.mkdir()
        shutil.move(str(root / name), str(place / name))
    return root


@pytest.mark.parametrize(
    'place', ['.', 'leftImg8bit_trainvaltest', 'leftImg8bit_trainvaltest/leftImg8bit/val/bonn']
)
def test_archives_unpacked_side_by_side_are_found(unpacked: Path, place: str) -> None:
    source = open_source(unpacked / place)
    assert source.labelled
    rec.assert_labels(list(source)[-1].labels, 5)
    assert source.notes == (f'labels are read from {unpacked / "gtFine_trainvaltest/gtFine"}',)


def test_without_labels_it_is_said_where_they_must_lie(root: Path) -> None:
    shutil.move(str(root / 'gtFine'), str(root.parent / 'elsewhere'))
    source = open_source(root / 'leftImg8bit/val')
    assert not source.labelled
    (note,) = source.notes
    assert f'unpack gtFine_trainvaltest.zip so that {root / "gtFine"} lies beside' in note


def test_labels_of_another_split_are_said_to_be_missing(root: Path) -> None:
    shutil.move(str(root / 'gtFine/val'), str(root / 'gtFine/train'))
    (note,) = open_source(root).notes
    assert f'{root / "gtFine"} has no labels of these images' in note


def test_coarse_labels_are_read_where_there_are_no_fine_ones(root: Path) -> None:
    coarse = root / 'gtCoarse/val/bonn/bonn_000000_000019_gtCoarse_labelIds.png'
    rec.write_png(coarse, np.full(rec.SIZE, CAR, np.uint8))
    shutil.rmtree(root / 'gtFine')
    source = open_source(root / 'leftImg8bit/val/bonn')
    assert source.notes == ('labels are the coarse ones (gtCoarse)',)
    (entry,) = source
    assert entry.labels is not None and (entry.labels == 13).all()


def test_the_layout_of_idd(tmp_path: Path) -> None:
    """Some images are JPEG, train ids are called those of Cityscapes, label ids are its own."""
    images, truth = tmp_path / 'leftImg8bit' / 'val' / '119', tmp_path / 'gtFine' / 'val' / '119'
    rec.write_png(images / '903127_leftImg8bit.png', rec.picture(0))
    rec.write_photo(images / '903128_leftImg8bit.jpg', rec.picture(1))
    ids = np.full(rec.SIZE, 32, np.uint8)  # vegetation; no class of Cityscapes
    for index, number in enumerate((903127, 903128)):
        rec.write_png(truth / f'{number}_gtFine_labelcsTrainIds.png', rec.labels(index))
        rec.write_png(truth / f'{number}_gtFine_labelids.png', ids)
    source = open_source(tmp_path)
    assert source.class_map == 'cityscapes'
    for index, entry in enumerate(source):
        rec.assert_labels(entry.labels, index)
    source = open_source(tmp_path, SourceOptions(label_ids='idd'))
    assert source.class_map == 'idd'
    found = [np.unique(entry.labels) for entry in source if entry.labels is not None]
    assert [values.tolist() for values in found] == [[24], [24]]
