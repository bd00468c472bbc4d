"""Folder pairs, and batches that depend on (recipe, step) alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tools.training.data import DataError, Loader, load_folder
from tools.training.recipe import Recipe


def loader(recipe: Recipe, folder: Path, threads: int = 1, rank: int = 0) -> Loader:
    source = load_folder('frames', folder, 'camvid', (5,))
    return Loader(recipe, {'frames': source}, threads, rank)


def test_folder_pairs_are_read(folder: Path) -> None:
    source = load_folder('frames', folder, 'camvid')
    assert len(source.images) == 4
    assert source.images[0].shape == (96, 128, 3)
    assert source.pixel_counts().sum() == 4 * 96 * 128


def test_a_missing_label_is_named(folder: Path) -> None:
    (folder / 'labels' / '2.png').unlink()
    with pytest.raises(DataError, match=r'labels/2.png: missing, the labels of .*images/2.png'):
        load_folder('frames', folder, 'camvid')


def test_a_label_that_the_taxonomy_lacks_is_named(folder: Path) -> None:
    cv2.imwrite(str(folder / 'labels' / '1.png'), np.full((96, 128), 77, np.uint8))
    with pytest.raises(DataError, match=r"1.png: label 77 is not in taxonomy 'cityscapes'"):
        load_folder('frames', folder, 'cityscapes')


def test_labels_of_another_size_are_refused(folder: Path) -> None:
    cv2.imwrite(str(folder / 'labels' / '1.png'), np.zeros((50, 128), np.uint8))
    with pytest.raises(DataError, match=r'1.png: labels are uint8 \(50, 128\)'):
        load_folder('frames', folder, 'camvid')


def test_a_damaged_picture_is_named(folder: Path) -> None:
    (folder / 'images' / '0.png').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'0.png: cannot be read as a picture'):
        load_folder('frames', folder, 'camvid')


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='give one that has images/ and labels/ in it'):
        load_folder('frames', tmp_path, 'camvid')


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
    source = load_folder('frames', folder, 'camvid')
    drawn = [made._frame_index(source, 0, draw) for draw in range(8)]
    assert sorted(drawn[:4]) == sorted(drawn[4:]) == [0, 1, 2, 3]
