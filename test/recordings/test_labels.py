# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Labels: every way in which data sets store them comes out as train ids, or says why not."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import recordings as rec

from segformer_ros.classes import load_class_map
from segformer_ros.recordings import SourceError, SourceFrame, SourceOptions, open_source
from segformer_ros.recordings.labels import LabelCoding

ROAD, SIDEWALK, CAR = 0, 1, 13
TRAIN = np.zeros(rec.SIZE, np.uint8)
"""Road, a car, sidewalk at the left, and a row that is not scored."""
TRAIN[10:30, 20:40] = CAR
TRAIN[:, :8] = SIDEWALK
TRAIN[0] = 255
LABEL_IDS = np.array([7, 8, *[0] * 11, 26], np.uint8)[np.minimum(TRAIN, CAR)]
LABEL_IDS[0] = 3


def colours(preset: str) -> np.ndarray:
    """TRAIN in the colours of a preset, (H, W, 3) uint8 BGR."""
    class_map = load_class_map(preset)
    values = np.zeros((*rec.SIZE, 3), np.uint8)
    for train_id, name in ((ROAD, 'road'), (SIDEWALK, 'sidewalk'), (CAR, 'car')):
        values[train_id == TRAIN] = class_map.classes[class_map.ids(name)[0]].color[::-1]
    return values


def entry_of(
    tmp_path: Path, values: np.ndarray, name: str = 'frame0.png', **options: Any
) -> SourceFrame:
    """The one frame of a folder, with `values` as its label file."""
    clip, labels = rec.write_folder(tmp_path / 'clip', 1), tmp_path / 'labels'
    if name.endswith('.npy'):
        labels.mkdir()
        np.save(labels / name, values)
    else:
        rec.write_png(labels / name, values)
    (entry,) = open_source(clip, SourceOptions(labels=labels, **options))
    return entry


@pytest.mark.parametrize(
    ('values', 'name'),
    [
        (TRAIN.astype(np.uint16), 'frame0.png'),
        (TRAIN, 'frame0.npy'),
        (TRAIN.astype(np.int64)[None], 'frame0.npy'),
        (np.asfortranarray(TRAIN.astype('>i2')), 'frame0.npy'),
    ],
)
def test_ids_of_more_bits_and_arrays_of_numpy(
    tmp_path: Path, values: np.ndarray, name: str
) -> None:
    entry = entry_of(tmp_path, values, name)
    assert entry.error is None and entry.labels is not None
    np.testing.assert_array_equal(entry.labels, TRAIN)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        (TRAIN.astype(np.float32), r'an array of shape \(48, 64\) and type float32 is no'),
        (np.zeros((48, 64, 3), np.uint8), r'shape \(48, 64, 3\)'),
        (np.array([{}], object), 'is no'),
    ],
)
def test_arrays_that_are_no_labels_are_refused(
    tmp_path: Path, values: np.ndarray, words: str
) -> None:
    entry = entry_of(tmp_path, values, 'frame0.npy')
    assert entry.labels is None
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(entry.error)


def test_a_cut_array_is_refused(tmp_path: Path) -> None:
    entry_of(tmp_path, TRAIN, 'frame0.npy')
    path = tmp_path / 'labels/frame0.npy'
    path.write_bytes(path.read_bytes()[:-9])
    (entry,) = open_source(tmp_path / 'clip', SourceOptions(labels=tmp_path / 'labels'))
    assert 'truncated array' in (entry.error or '')


def test_an_id_in_all_channels_is_that_id_and_transparent_is_not_scored(tmp_path: Path) -> None:
    grey = np.repeat(TRAIN[..., None], 3, axis=2)
    np.testing.assert_array_equal(entry_of(tmp_path / 'bgr', grey).labels, TRAIN)
    clear = np.dstack([grey, np.full(rec.SIZE, 255, np.uint8)])
    clear[40:, :, 3] = 0
    labels = entry_of(tmp_path / 'bgra', clear).labels
    assert labels is not None
    np.testing.assert_array_equal(labels[:40], TRAIN[:40])
    assert (labels[40:] == 255).all()


def indexed_png(places: np.ndarray, palette: bytes) -> bytes:
    """A PNG with a palette of RGB colours, 8 bits a pixel."""
    header = struct.pack('>IIBBBBB', *reversed(places.shape), 8, 3, 0, 0, 0)
    lines = b''.join(b'\0' + row.tobytes() for row in places)
    parts = (
        (b'IHDR', header),
        (b'PLTE', palette),
        (b'IDAT', zlib.compress(lines)),
        (b'IEND', b''),
    )
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(content))
        + name
        + content
        + struct.pack('>I', zlib.crc32(name + content))
        for name, content in parts
    )


@pytest.mark.parametrize(
    'preset', ['cityscapes', 'camvid', 'mapillary', 'ade20k', 'bdd100k', 'kitti']
)
def test_colours_are_told_by_name_and_read_by_their_table(tmp_path: Path, preset: str) -> None:
    told = entry_of(tmp_path / 'told', colours(preset))
    assert told.labels is None
    assert 'give --label-colors ' in (told.error or '') and preset in (told.error or '')
    read = entry_of(tmp_path / 'read', colours(preset), label_colors=preset)
    assert read.labels is not None
    names = [load_class_map(preset).name_of(value) for value in np.unique(read.labels)]
    assert {'road', 'sidewalk', 'car'} <= set(names)
    assert (read.labels[1:, :8] == load_class_map(preset).ids('sidewalk')).all()


def test_unknown_colours_are_counted_and_near_ones_are_unknown(tmp_path: Path) -> None:
    values = colours('cityscapes')
    values[40, :5] = (1, 2, 3)
    values[41, 30] = (128, 64, 129)  # one off road
    entry = entry_of(tmp_path, values, label_colors='cityscapes')
    assert entry.labels is not None
    assert (entry.labels[40, :5] == 255).all() and entry.labels[41, 30] == 255
    assert entry.error == (
        "colours that 'cityscapes' does not have, not scored: (3, 2, 1) (5 pixels), "
        '(129, 64, 128) (1 pixels)'
    )


def test_a_palette_is_read_by_its_colours_where_they_are_asked_for(tmp_path: Path) -> None:
    """As PNG of three colours of whose places in the palette nothing is known."""
    palette = b''.join(bytes(load_class_map('camvid').classes[i].color) for i in (8, 3, 4))
    places = np.array([1, 2, *[9] * 11, 0], np.uint8)[np.minimum(TRAIN, CAR)]
    places[0] = 1
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels/frame0.png').write_bytes(indexed_png(places, palette))
    clip = rec.write_folder(tmp_path / 'clip', 1)
    options = SourceOptions(labels=tmp_path / 'labels', label_colors='camvid')
    (entry,) = open_source(clip, options)
    assert entry.labels is not None
    assert entry.labels[45, [2, 50]].tolist() == [4, 3] and entry.labels[20, 30] == 8
    (entry,) = open_source(clip, SourceOptions(labels=tmp_path / 'labels'))
    np.testing.assert_array_equal(entry.labels, places)


def test_label_ids_become_train_ids_and_what_is_void_is_not_scored(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, LABEL_IDS, label_ids='cityscapes')
    assert entry.error is None
    np.testing.assert_array_equal(entry.labels, TRAIN)


@pytest.mark.parametrize(
    ('preset', 'step'), [('cityscapes', 1000), ('kitti', 256), ('mapillary', 256)]
)
def test_instance_ids_hold_the_label_id(tmp_path: Path, preset: str, step: int) -> None:
    class_map = load_class_map(preset)
    car = class_map.ids('car')[0]
    label_id = max(class_map.classes[car].label_id, car if preset == 'mapillary' else 0)
    values = np.full(rec.SIZE, label_id * step + 1, np.uint16)
    entry = entry_of(tmp_path / 'read', values, label_ids=preset)
    assert entry.labels is not None and (entry.labels == car).all()
    refused = entry_of(tmp_path / 'refused', values)
    assert refused.labels is None
    assert 'Instance ids hold the label id too: --label-ids cityscapes' in (refused.error or '')


def test_ade20k_counts_from_one(tmp_path: Path) -> None:
    values = np.full(rec.SIZE, 7, np.uint8)
    values[0] = 0
    labels = entry_of(tmp_path, values, label_ids='ade20k').labels
    assert labels is not None
    assert labels[:2, 0].tolist() == [255, load_class_map('ade20k').ids('road')[0]]


def test_a_class_map_of_ones_own_with_labels_that_count_as_a_class(tmp_path: Path) -> None:
    path = tmp_path / 'yard.yaml'
    path.write_text(
        'classes:\n- {train_id: 0, name: gravel, label_id: 3, color: [9, 8, 7]}\n'
        '- {train_id: 1, name: shed, label_id: 5, color: [1, 1, 1]}\n'
        'labels:\n- {name: sand, label_id: 4, color: [9, 9, 9], class: gravel}\n'
    )
    values = np.full(rec.SIZE, 3, np.uint8)
    values[1], values[2], values[3] = 4, 5, 6
    entry = entry_of(tmp_path / 'ids', values, label_ids=str(path))
    assert entry.labels is not None
    assert entry.labels[:4, 0].tolist() == [0, 0, 1, 255]
    assert 'not scored: 6 (64 pixels)' in (entry.error or '')
    painted = np.full((*rec.SIZE, 3), 9, np.uint8)
    labels = entry_of(tmp_path / 'colours', painted, label_colors=str(path)).labels
    assert labels is not None and not labels.any()


@pytest.mark.parametrize(
    ('name', 'option'),
    [
        ('frame0_gtFine_labelIds.png', '--label-ids cityscapes'),
        ('frame0_gtFine_instanceIds.png', '--label-ids cityscapes'),
        ('frame0_gtFine_color.png', '--label-colors cityscapes'),
        ('frame0_labelids.png', '--label-ids cityscapes'),
    ],
)
def test_names_say_what_labels_are(tmp_path: Path, name: str, option: str) -> None:
    entry = entry_of(tmp_path, TRAIN, name)
    assert entry.labels is None
    assert f'not of train ids; give {option}' in (entry.error or '')


@pytest.mark.parametrize(
    'name',
    [
        'frame0_gtFine_labelTrainIds.png', 'frame0_gtFine_labelcsTrainIds.png', 'frame0_L.png',
        'frame0_train_id.png', 'frame0.PNG',
    ],
)  # fmt: skip
def test_names_of_data_sets_are_found(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(entry_of(tmp_path, TRAIN, name).labels, TRAIN)


def test_names_of_goose_are_found(tmp_path: Path) -> None:
    rec.write_png(tmp_path / 'images' / 'flight_0071_windshield_vis.png', rec.picture(0))
    for ending, value in (('labelids', 23), ('instanceids', 1), ('color', 9)):
        values = np.full(rec.SIZE, value, np.uint8)
        rec.write_png(tmp_path / 'labels' / f'flight_0071_{ending}.png', values)
    options = SourceOptions(labels=tmp_path / 'labels', label_ids='goose')
    (entry,) = open_source(tmp_path / 'images', options)
    assert entry.labels is not None and np.unique(entry.labels).tolist() == [23]


def test_of_several_files_of_a_frame_the_one_asked_for_is_read(tmp_path: Path) -> None:
    labels = tmp_path / 'labels'
    stem = 'frame0_gtFine_'
    rec.write_png(labels / f'{stem}labelIds.png', LABEL_IDS)
    rec.write_png(labels / f'{stem}color.png', colours('cityscapes'))
    rec.write_png(labels / f'{stem}instanceIds.png', LABEL_IDS.astype(np.uint16) * 1000)
    clip = rec.write_folder(tmp_path / 'clip', 1)
    for options in (
        SourceOptions(labels=labels, label_ids='cityscapes'),
        SourceOptions(labels=labels, label_colors='cityscapes'),
    ):
        (entry,) = open_source(clip, options)
        np.testing.assert_array_equal(entry.labels, TRAIN)
    rec.write_png(labels / f'{stem}labelTrainIds.png', TRAIN)
    (entry,) = open_source(clip, SourceOptions(labels=labels))
    np.testing.assert_array_equal(entry.labels, TRAIN)


@pytest.mark.parametrize(
    ('size', 'words'),
    [
        ((64, 48), 'has 48x64 pixels, its frame 64x48: one of them is rotated'),
        ((24, 32), 'resize the labels to 64x48 by nearest neighbour'),
        ((36, 64), 'another aspect, so another field of view'),
    ],
)
def test_labels_of_another_size(tmp_path: Path, size: tuple[int, int], words: str) -> None:
    entry = entry_of(tmp_path, np.zeros(size, np.uint8))
    assert entry.labels is None
    assert words in (entry.error or '')


def test_jpeg_labels_are_refused_for_what_they_are(tmp_path: Path) -> None:
    (tmp_path / 'labels').mkdir()
    cv2.imwrite(str(tmp_path / 'labels/frame0.jpg'), TRAIN)
    clip = rec.write_folder(tmp_path / 'clip', 1)
    options = SourceOptions(labels=tmp_path / 'labels')
    with pytest.raises(SourceError, match=r'but 1 .jpg \(JPEG changes values\)'):
        open_source(clip, options)
    (tmp_path / 'labels/frame0.jpg').rename(tmp_path / 'labels/frame0.png')
    (entry,) = open_source(clip, options)
    assert 'JPEG, which changes values' in (entry.error or '')


@pytest.mark.parametrize('name', ['ADE_val_00000001.png', 'other.png'])
def test_labels_that_no_frame_is_named_as_are_told_at_once(tmp_path: Path, name: str) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    rec.write_png(tmp_path / 'labels' / name, TRAIN)
    fault = open_source(clip, SourceOptions(labels=tmp_path / 'labels')).label_fault
    assert f'is named as a frame: frames frame0, frame1, labels {name}; name them' in fault


def test_files_of_ade20k_are_known_by_their_names(tmp_path: Path) -> None:
    rec.write_png(tmp_path / 'clip/ADE_val_00000001.png', rec.picture(0))
    rec.write_png(tmp_path / 'labels/ADE_val_00000001.png', TRAIN)
    options = SourceOptions(labels=tmp_path / 'labels')
    (entry,) = open_source(tmp_path / 'clip', options)
    assert "ADE20K's ids, which begin at 1" in (entry.error or '')
    assert 'give --label-ids ade20k' in (entry.error or '')
    (entry,) = open_source(tmp_path / 'clip', replace(options, label_ids='train'))
    assert entry.labels is not None and entry.error is None


def test_folders_in_the_label_folder_are_named(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 1)
    (tmp_path / 'labels/val').mkdir(parents=True)
    with pytest.raises(SourceError, match=r'holds no .png file, but folders \(val\)'):
        open_source(clip, SourceOptions(labels=tmp_path / 'labels'))


def test_ids_and_colours_at_once_are_refused() -> None:
    with pytest.raises(SourceError, match='either ids .* or colours'):
        LabelCoding.of(SourceOptions(label_ids='cityscapes', label_colors='camvid'))


def test_colours_of_two_classes_are_told(tmp_path: Path) -> None:
    rec.write_png(tmp_path / 'labels/frame0.png', colours('ade20k'))
    clip = rec.write_folder(tmp_path / 'clip', 1)
    source = open_source(clip, SourceOptions(labels=tmp_path / 'labels', label_colors='ade20k'))
    assert source.notes == (
        'colours of two classes: (140, 140, 140) of road and skyscraper is taken as road',
    )
