# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Class maps: presets, yaml, labels.txt, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from segformer_ros.classes import ClassMapError, load_class_map, preset_names


def test_cityscapes_has_the_official_numbers() -> None:
    cityscapes = load_class_map('cityscapes')
    assert len(cityscapes) == 19
    assert cityscapes.ids('road', 'sidewalk', 'bicycle') == (0, 1, 18)
    assert [entry.label_id for entry in cityscapes.classes][-3:] == [31, 32, 33]
    assert tuple(cityscapes.palette[3]) == (102, 102, 156)
    assert tuple(cityscapes.palette_bgr[13]) == (142, 0, 0)
    assert not cityscapes.palette[255].any()


@pytest.mark.parametrize(('preset', 'count'), [('ade20k', 150), ('mapillary', 66)])
def test_other_presets_have_their_classes_and_drivable_groups(preset: str, count: int) -> None:
    class_map = load_class_map(preset)
    assert len(class_map) == count
    assert class_map.ids('road')[0] in class_map.drivable_ids('road')
    assert set(class_map.drivable_ids('road')) < set(class_map.drivable_ids('road+sidewalk'))
    grey = (140, 140, 140)
    road = {'ade20k': grey, 'mapillary': (128, 64, 128)}[preset]
    assert tuple(class_map.palette[class_map.ids('road')[0]]) == road
    assert len({entry.color for entry in class_map.classes}) > 0.9 * count


PRESETS: dict[str, tuple[int, dict[int, int], dict[str, str]]] = {
    'bdd100k': (19, {7: 0, 40: 14, 33: 18, 5: 255}, {'road': 'road'}),
    'kitti': (19, {7: 0, 33: 18, 9: 255}, {'road': 'road'}),
    'bdd100k_drivable': (3, {0: 0, 2: 2}, {'road': 'direct alternative'}),
    'drivable_lane': (3, {1: 1}, {'road': 'drivable_area lane_line'}),
    'idd': (
        26,
        {0: 0, 1: 1, 2: 1, 18: 12, 34: 25, 36: 255},
        {'off-road': 'drivable_fallback'},
    ),
    'goose': (64, {0: 0, 23: 23, 50: 50, 63: 63}, {'off-road': 'asphalt gravel soil low_grass'}),
    'rellis3d': (
        19,
        {1: 0, 3: 1, 10: 8, 23: 14, 34: 18, 0: 255},
        {'off-road': 'dirt grass asphalt'},
    ),
    'void+rellis3d': (20, {0: 0, 1: 1, 34: 19}, {'off-road': 'dirt grass asphalt'}),
    'rugd': (24, {1: 0, 10: 9, 24: 23, 0: 255}, {'off-road': 'gravel dirt mulch grass asphalt'}),
    'void+rugd': (25, {0: 0, 1: 1, 24: 24}, {'road': 'asphalt concrete'}),
    'void+cityscapes': (20, {7: 1, 0: 0, 1: 255}, {'road': 'road'}),
}
"""By name: number of classes, some label ids with their train ids, and what is drivable."""


@pytest.mark.parametrize('preset', PRESETS)
def test_presets_of_street_and_field(preset: str) -> None:
    count, ids, groups = PRESETS[preset]
    class_map = load_class_map(preset)
    assert (class_map.name, len(class_map)) == (preset, count)
    table = class_map.label_table()
    assert {label_id: table.get(label_id, 255) for label_id in ids} == ids
    assert class_map.drivable_ids('road')  # the node's default
    for group, members in groups.items():
        found = {class_map.names[index] for index in class_map.drivable_ids(group)}
        assert found >= {name.replace('_', ' ') for name in members.split()} or found >= set(
            members.split()
        )
    sky = {'sky'} & set(class_map.names)
    assert not sky or not set(class_map.ids('sky')) & set(class_map.drivable_ids('road'))


def test_drivable_groups_and_free_combinations() -> None:
    cityscapes = load_class_map('cityscapes')
    assert cityscapes.drivable_ids('road') == (0,)
    assert cityscapes.drivable_ids('road+sidewalk') == (0, 1)
    assert cityscapes.drivable_ids('terrain, road') == (9, 0)
    with pytest.raises(ClassMapError, match="has no class 'lava'"):
        cityscapes.drivable_ids('lava')


@pytest.mark.parametrize('text', ['road\nsidewalk\n\nlava\n', 'road; sidewalk; lava'])
def test_labels_txt_keeps_known_colours(tmp_path: Path, text: str) -> None:
    file = tmp_path / 'labels.txt'
    file.write_text(text)
    class_map = load_class_map(file)
    assert class_map.names == ('road', 'sidewalk', 'lava')
    assert tuple(class_map.palette[0]) == (128, 64, 128)
    assert class_map.palette[2].any()
    assert class_map.drivable_ids('road+sidewalk') == (0, 1)


def test_yaml_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / 'yard.yaml'
    file.write_text(
        'classes:\n- {train_id: 0, name: gravel, color: [1, 2, 3]}\n'
        '- {train_id: 1, name: fence, color: [4, 5, 6]}\ndrivable: {gravel: [gravel]}\n'
    )
    class_map = load_class_map(file)
    assert class_map.name == 'yard'
    assert class_map.drivable_ids('gravel') == (0,)
    np.testing.assert_array_equal(class_map.palette[:3], [[1, 2, 3], [4, 5, 6], [0, 0, 0]])


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('nonsense', 'is not a class map'),
        ('classes: []', 'has 0 classes'),
        ('classes: {}', 'classes: {} is not a list'),
        ('classes: 3', 'classes: 3 is not a list'),
        (
            'classes: [{train_id: -1, name: a}]',
            r'train_id: -1 is not a whole number from 0 to 254',
        ),
        ('classes: [{train_id: .inf, name: a}]', 'train_id: inf is not a whole number'),
        ('classes: [{train_id: 0, name: [a]}]', r'name: .* is not text'),
        ('classes: [a, b]', r"classes\[0\]: 'a' is not a mapping"),
        ('{classes: [{train_id: 0, name: a}], drivable: [a]}', 'drivable: .* is not a mapping'),
        ('classes: &a [*a]', "'a' contains itself"),
        ('classes: ' + '[' * 900, 'more than 64 levels'),
        ('classes: [{train_id: 0, color: [0, 0, 0]}]', r'classes\[0\]: .* lacks name'),
        (
            'classes: [{train_id: 0, name: a, color: [0, 0, 300]}]',
            r'color\[2\]: 300 is not a whole number from 0 to 255',
        ),
        (
            'classes: [{train_id: 0, name: a, color: [0, 0, 0]},'
            ' {train_id: 2, name: b, color: [0, 0, 0]}]',
            "'b' has train id 2 at position 1",
        ),
        (
            'classes: [{train_id: 0, name: a, color: [0, 0, 0]},'
            ' {train_id: 1, name: a, color: [0, 0, 0]}]',
            "names 'a' twice",
        ),
    ],
)
def test_broken_yaml_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / 'broken.yaml'
    file.write_text(text)
    with pytest.raises(ClassMapError, match=words):
        load_class_map(file)


def test_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(ClassMapError, match="no class map 'kitty'.*cityscapes"):
        load_class_map('kitty')


@pytest.mark.timeout(20)
@pytest.mark.parametrize('name', ['classes.yaml', 'labels.txt'])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ClassMapError, match='it is a device or a pipe'):
        load_class_map(tmp_path / name)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClassMapError, match='cannot read class map .*gone.yaml'):
        load_class_map(tmp_path / 'gone.yaml')


@pytest.mark.parametrize('preset', ['cityscapes', 'ade20k', 'mapillary'])
def test_every_preset_knows_sky_people_and_vehicles(preset: str) -> None:
    """The drivable area asks for these groups."""
    groups = {entry.name: entry.group for entry in load_class_map(preset).classes}
    wanted = {'sky': 'sky', 'person': 'human', 'car': 'vehicle', 'pole': 'object', 'road': 'flat'}
    assert {name: groups[name] for name in wanted} == wanted


def test_a_class_without_a_group_has_that_of_its_name(tmp_path: Path) -> None:
    file = tmp_path / 'yard.yaml'
    file.write_text(
        'classes:\n- {train_id: 0, name: sky}\n- {train_id: 1, name: lava}\n'
        '- {train_id: 2, name: person, group: mine}\n'
    )
    classes = load_class_map(file).classes
    assert [(entry.group, entry.label_id) for entry in classes] == [
        ('sky', -1), ('', -1), ('mine', -1)
    ]  # fmt: skip


def test_a_value_that_is_no_class_is_unknown() -> None:
    cityscapes = load_class_map('cityscapes')
    assert [cityscapes.name_of(value) for value in (0, 18, 19, 255)] == [
        'road', 'bicycle', 'unknown', 'unknown'
    ]  # fmt: skip


def test_an_unknown_name_is_said_with_the_one_that_is_close() -> None:
    words = (
        r"^class map 'cityscapes' has no class 'bycicle' \(did you mean bicycle\?\); it has road"
    )
    with pytest.raises(ClassMapError, match=words):
        load_class_map('cityscapes').ids('road', 'bycicle')
    with pytest.raises(ClassMapError, match=r"has no class 'xyz'; it has road"):
        load_class_map('cityscapes').ids('xyz')


@pytest.mark.parametrize(
    'data',
    [
        b'\xef\xbb\xbfroad\r\nsidewalk\r\nlava\r\n',
        b'road\r\r\nsidewalk\r\r\nlava\r\r\n',
        b'\n\nroad\rsidewalk\rlava\n\n',
        'road\nsidewalk\nlava'.encode('utf-8-sig'),
    ],
)
def test_labels_txt_of_any_editor(tmp_path: Path, data: bytes) -> None:
    (tmp_path / 'labels.txt').write_bytes(data)
    class_map = load_class_map(tmp_path / 'labels.txt')
    assert class_map.names == ('road', 'sidewalk', 'lava')
    assert tuple(class_map.palette[0]) == (128, 64, 128)


def test_an_empty_line_is_told_and_a_name_that_stands_twice_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / 'labels.txt'
    file.write_text('road\n\nsidewalk\nlava\n\n')
    assert load_class_map(file).names == ('road', 'sidewalk', 'lava')
    assert "empty lines (2) are skipped: train id 1 is 'sidewalk'" in caplog.text
    file.write_text('road\nvoid\n\nlava\nvoid\n')
    with pytest.raises(ClassMapError, match="names 'void' in line 2 and in line 5.*rename one"):
        load_class_map(file)


@pytest.mark.parametrize('preset', preset_names())
def test_a_map_survives_its_file(tmp_path: Path, preset: str) -> None:
    class_map = load_class_map(preset)
    (tmp_path / 'map.yaml').write_text(class_map.as_yaml())
    assert load_class_map(tmp_path / 'map.yaml') == class_map


def test_a_label_that_counts_as_no_class_is_refused(tmp_path: Path) -> None:
    file = tmp_path / 'yard.yaml'
    file.write_text(
        'classes: [{train_id: 0, name: a}, {train_id: 1, name: b}]\n'
        'labels: [{name: c, label_id: 3, class: d}]\n'
    )
    with pytest.raises(ClassMapError, match="label 'c': class map 'yard' has no class 'd'"):
        load_class_map(file)
