# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Folder pairs, and batches that depend on (recipe, step) alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tools.training.data import DataError, Loader, _draw, held_out_place, load_folder, read_picture
from tools.training.recipe import FolderSource, Recipe, Stage
from tools.training.taxonomy import COARSE, IGNORE_ID

TRAIN = 16


def loader(recipe: Recipe, folder: Path, threads: int = 1, rank: int = 0) -> Loader:
    source = load_folder('frames', recipe.folders['frames'])
    return Loader(recipe, {'frames': source}, threads, rank)


def test_folder_pairs_are_read(folder: Path) -> None:
    source = load_folder('frames', FolderSource(str(folder), 'camvid'))
    assert len(source.files) == 4
    image, labels = source.frame(1)
    assert image.shape == (96, 128, 3)
    assert labels.shape == (96, 128)
    assert source.counts.sum() == 4 * 96 * 128


def test_a_missing_label_is_named(folder: Path) -> None:
    (folder / 'labels' / '2.png').unlink()
    with pytest.raises(DataError, match=r'labels/2.png: missing, the labels of .*images/2.png'):
        load_folder('frames', FolderSource(str(folder), 'camvid'))


def test_a_label_that_the_taxonomy_lacks_is_named(folder: Path) -> None:
    cv2.imwrite(str(folder / 'labels' / '1.png'), np.full((96, 128), 77, np.uint8))
    with pytest.raises(DataError, match=r"1.png: label 77 is not in taxonomy 'cityscapes'"):
        load_folder('frames', FolderSource(str(folder)))


def test_labels_of_another_size_are_refused(folder: Path) -> None:
    cv2.imwrite(str(folder / 'labels' / '1.png'), np.zeros((50, 128), np.uint8))
    with pytest.raises(DataError, match=r'1.png: labels of \(50, 128\), image of \(96, 128\)'):
        load_folder('frames', FolderSource(str(folder), 'camvid')).check()


def test_a_damaged_picture_is_named(folder: Path) -> None:
    (folder / 'images' / '0.png').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'0.png: cannot be read as a picture'):
        load_folder('frames', FolderSource(str(folder), 'camvid')).check()


def test_coloured_labels_are_refused(folder: Path) -> None:
    cv2.imwrite(str(folder / 'labels' / '1.png'), np.zeros((96, 128, 3), np.uint8))
    with pytest.raises(DataError, match=r'1.png: labels are uint8 \(96, 128, 3\), not uint8'):
        load_folder('frames', FolderSource(str(folder), 'camvid'))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='give one that has images/ and labels/ in it'):
        load_folder('frames', FolderSource(str(tmp_path)))


def test_a_batch_depends_on_the_step_alone(recipe: Recipe, folder: Path) -> None:
    in_order = list(loader(recipe, folder, threads=3).batches(0, recipe.steps))
    assert len(in_order) == 10
    for step in (7, 2):
        again = loader(recipe, folder).make(step)
        assert torch.equal(again[0].images, in_order[step][0].images)
        assert torch.equal(again[0].labels, in_order[step][0].labels)


def test_a_resumed_loader_goes_on_where_it_stopped(recipe: Recipe, folder: Path) -> None:
    whole = list(loader(recipe, folder).batches(0, 10))
    rest = list(loader(recipe, folder).batches(4, 10))
    assert len(rest) == 6
    assert all(torch.equal(a[0].images, b[0].images) for a, b in zip(whole[4:], rest, strict=True))


def test_stages_have_their_own_crops(recipe: Recipe, folder: Path) -> None:
    first, later = loader(recipe, folder).make(0)[0], loader(recipe, folder).make(6)[0]
    assert first.images.shape == (2, 3, 64, 64)
    assert first.labels.shape == (2, 32, 32)
    assert later.images.shape == (2, 3, 64, 96)


def test_workers_share_a_batch_without_overlap(recipe: Recipe, folder: Path) -> None:
    recipe = replace(recipe, workers=2)
    halves = [loader(recipe, folder, rank=rank).make(0)[0] for rank in (0, 1)]
    assert [len(half.images) for half in halves] == [1, 1]
    assert not torch.equal(halves[0].images, halves[1].images)


def test_an_epoch_shows_every_frame_once(recipe: Recipe, folder: Path) -> None:
    made = loader(recipe, folder)
    source = load_folder('frames', FolderSource(str(folder), 'camvid'))
    drawn = [made._frame_index(source, 0, draw) for draw in range(8)]
    assert sorted(drawn[:4]) == sorted(drawn[4:]) == [0, 1, 2, 3]


def test_places_held_out_are_not_read(folder: Path) -> None:
    held_out = FolderSource(str(folder), held_out={'hill': ('[01]',), 'dale': ('3',)})
    assert [path.stem for path, _, _ in load_folder('frames', held_out).files] == ['2']
    found = [held_out_place(held_out, folder / 'images' / f'{i}.png') for i in range(4)]
    assert found == ['hill', 'hill', '', 'dale']
    with pytest.raises(DataError, match='all its frames are held out'):
        load_folder('frames', replace(held_out, held_out={'all': ('*',)}))


def write_groups(folder: Path, beside: int) -> None:
    """Group 3 for every pixel, and another label for the left 50 columns of the finer ones."""
    (folder / 'groups').mkdir()
    for path in (folder / 'labels').iterdir():
        labels = read_picture(path, cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(folder / 'groups' / path.name), np.full_like(labels, 3))
        labels[:, :50] = beside
        cv2.imwrite(str(path), labels)


def test_coarse_labels_stand_where_finer_ones_know_nothing(folder: Path) -> None:
    write_groups(folder, IGNORE_ID)
    source = load_folder('frames', FolderSource(str(folder), 'idd', coarse='groups'))
    _, labels = source.frame(0)
    assert (labels[:, :50] == COARSE + 3).all()
    assert (labels[:, 50:] < COARSE).all()
    assert source.counts[source.taxonomy.labels.index(COARSE + 3)] == 4 * 96 * 50


def test_labels_that_are_unsure_count_as_none(folder: Path) -> None:
    write_groups(folder, TRAIN)
    coarse = FolderSource(str(folder), 'idd', coarse='groups', unsure=(TRAIN,))
    for given, label in ((coarse, COARSE + 3), (replace(coarse, coarse=''), IGNORE_ID)):
        source = load_folder('frames', given)
        _, labels = source.frame(0)
        assert (labels[:, :50] == label).all()
        assert (labels[:, 50:] < COARSE).all()
        assert source.counts[source.taxonomy.labels.index(TRAIN)] == 0


def test_small_steps_show_sources_in_the_shares_of_their_batch() -> None:
    stage = Stage(steps=9, crop=(32, 32), batch={'often': 5, 'seldom': 1}, crops=2)
    drawn = [_draw(stage, number, [0]) for number in range(18)]
    assert [draw for name, draw in drawn if name == 'often'] == list(range(15))
    assert [draw for name, draw in drawn if name == 'seldom'] == [0, 1, 2]


def test_crops_of_one_taxonomy_are_one_batch(recipe: Recipe, folder: Path) -> None:
    exact = FolderSource(str(folder))
    folders = {'a': exact, 'b': recipe.folders['frames'], 'c': exact}
    stage = Stage(steps=1, crop=(64, 64), batch={'a': 1, 'b': 1, 'c': 2})
    recipe = replace(recipe, folders=folders, stages=(stage,))
    sources = {name: load_folder(name, folder) for name, folder in folders.items()}
    batches = Loader(recipe, sources).make(0)
    assert [(b.taxonomy, len(b.images)) for b in batches] == [('camvid', 1), ('cityscapes', 3)]
