# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Image folders as sources."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as rec

from segformer_ros.formats.exif import read_exif
from segformer_ros.recordings import SourceError, SourceOptions, open_source
from segformer_ros.recordings.folder_source import natural_key


def test_images_come_in_natural_order_at_an_even_rate(tmp_path: Path) -> None:
    source = open_source(rec.write_folder(tmp_path / 'clip', 12), SourceOptions(fps=4.0))
    frames = [entry.frame for entry in source]
    assert [rec.index_of(frame.pixels) for frame in frames if frame] == list(range(12))
    stamps = [frame.stamp.ns for frame in frames if frame]
    assert set(np.diff(stamps)) == {250_000_000}
    assert [entry.key for entry in source.frames(9, 11)] == ['frame9', 'frame10']


def test_natural_order_holds_for_odd_names() -> None:
    names = ['a.png', 'a2.png', 'a2.png3.png', 'a10.png', 'a010.png', '7.png', 'b.png']
    ordered = sorted((Path(name) for name in names), key=natural_key)
    assert [path.name for path in ordered] == [
        '7.png',
        'a.png',
        'a2.png',
        'a2.png3.png',
        'a010.png',
        'a10.png',
        'b.png',
    ]


def test_labels_lie_in_a_folder_by_the_same_names(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 4)
    for index in range(3):
        rec.write_png(tmp_path / 'labels' / f'frame{index}.png', rec.labels(index))
    colours = rec.picture(2) + np.array((1, 2, 3), np.uint8)
    rec.write_png(tmp_path / 'labels' / 'frame2.png', colours)
    entries = list(open_source(clip, SourceOptions(labels=tmp_path / 'labels')))
    rec.assert_labels(entries[1].labels, 1)
    assert 'has 3 channels' in (entries[2].error or '')
    assert 'no label image frame3.png' in (entries[3].error or '')
    assert all(entry.frame is not None for entry in entries)


def test_a_broken_image_is_an_entry_of_its_own(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 3)
    whole = cv2.imencode('.jpg', np.zeros((90, 90, 3), np.uint8))[1].tobytes()
    (clip / 'frame1.png').write_bytes(whole[: len(whole) // 2])
    (clip / 'frame2.png').write_bytes(b'')
    entries = list(open_source(clip))
    assert entries[0].frame is not None
    assert (
        entries[1].error == f'frame1.png: undecodable JPEG image of {len(whole) // 2} bytes: '
        'its header is incomplete'
    )
    assert 'frame2.png' in (entries[2].error or '')


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('nothing here')
    with pytest.raises(SourceError, match='holds no image .* and no bag'):
        open_source(tmp_path)


def test_a_folder_of_label_images_must_exist(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 1)
    with pytest.raises(SourceError, match='no label folder'):
        open_source(clip, SourceOptions(labels=tmp_path / 'none'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SourceError, match=r'holds no \.png'):
        open_source(clip, SourceOptions(labels=tmp_path / 'empty'))


def test_one_image_is_a_folder_of_one_frame(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    rec.write_png(tmp_path / 'labels' / 'frame1.png', rec.labels(1))
    source = open_source(clip / 'frame1.png', SourceOptions(labels=tmp_path / 'labels'))
    (entry,) = source
    assert (source.name, len(source), entry.key) == ('frame1', 1, 'frame1')
    assert entry.frame is not None
    assert rec.index_of(entry.frame.pixels) == 1
    rec.assert_labels(entry.labels, 1)
    assert open_source(f'file://{clip}/frame1.png').files == [clip / 'frame1.png']


def test_images_of_one_stem_have_keys_of_their_own(tmp_path: Path) -> None:
    names = ('x.png', 'x.jpg', 'x.JPG', 'x_png.png', 'y.png')
    for index, name in enumerate(names):
        rec.write_png(tmp_path / 'clip' / name, rec.picture(index))
    rec.write_png(tmp_path / 'labels' / 'x.png', rec.labels(1))
    entries = list(open_source(tmp_path / 'clip', SourceOptions(labels=tmp_path / 'labels')))
    keys = [entry.key for entry in entries]
    assert keys == ['x', 'x_jpg', 'x_png_000002', 'x_png', 'y']
    # Labels go by the stem.
    assert [entry.labels is not None for entry in entries] == [True, True, True, False, False]


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    """A key is written into files, so it is text."""
    name = os.fsdecode(b'stra\xdfe.png')
    for folder, pixels in (('clip', rec.picture(3)), ('labels', rec.labels(3))):
        rec.write_png(tmp_path / folder / 'x.png', pixels)
        (tmp_path / folder / 'x.png').rename(tmp_path / folder / name)
    (entry,) = open_source(tmp_path / 'clip', SourceOptions(labels=tmp_path / 'labels'))
    assert entry.key == 'stra\ufffde'
    rec.assert_labels(entry.labels, 3)


def test_digits_of_other_scripts_are_letters() -> None:
    names = ['٣.png', '²5.png', 'a.png', '4.png']
    assert sorted(names, key=lambda name: natural_key(Path(name)))[0] == '4.png'


def test_an_image_that_is_a_hole_is_not_read(tmp_path: Path) -> None:
    rec.write_folder(tmp_path, 2)
    with (tmp_path / 'frame1.png').open('r+b') as file:
        file.truncate(3 << 30)
    entries = list(open_source(tmp_path))
    assert entries[0].frame is not None
    assert 'at most 268435456 are read' in (entries[1].error or '')


@pytest.mark.parametrize('number', range(2, 9))
def test_photos_are_turned_as_their_exif_says(tmp_path: Path, number: int) -> None:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24] = 240
    orientation = read_exif(b'\xff\xd8' + rec.exif(number)).orientation
    rec.write_photo(tmp_path / 'drive' / 'a.jpg', pixels, rec.exif(number))
    (entry,) = open_source(tmp_path / 'drive')
    assert entry.frame is not None
    wanted = orientation.applied(pixels)
    assert np.abs(entry.frame.pixels.astype(int) - wanted).mean() < 4
    assert 'turned as their Exif says, such as a.jpg' in open_source(tmp_path / 'drive').notes[0]


@pytest.mark.parametrize('drawn', ['shown', 'stored'])
def test_labels_of_a_turned_photo_are_of_what_is_seen(tmp_path: Path, drawn: str) -> None:
    pixels, values = np.zeros((32, 48, 3), np.uint8), np.zeros((32, 48), np.uint8)
    values[:4] = 7
    upright = read_exif(b'\xff\xd8' + rec.exif(6)).orientation.applied(values)
    rec.write_photo(tmp_path / 'drive' / 'a.jpg', pixels, rec.exif(6))
    rec.write_png(tmp_path / 'labels' / 'a.png', upright if drawn == 'shown' else values)
    source = open_source(tmp_path / 'drive', SourceOptions(labels=tmp_path / 'labels'))
    (entry,) = source
    assert entry.labels is not None and np.array_equal(entry.labels, upright)
    assert 'labels are taken to match the turned photos' in source.notes[0]


@pytest.mark.parametrize('suffix', ['.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.PNG'])
def test_kinds_of_pictures(tmp_path: Path, suffix: str) -> None:
    pixels = rec.picture(9)
    rec.write_png(tmp_path / f'a{suffix}', pixels[..., 0] if suffix == '.pgm' else pixels)
    (entry,) = open_source(tmp_path)
    assert entry.frame is not None, entry.error
    assert entry.frame.pixels.shape == pixels.shape
    assert np.abs(entry.frame.pixels.astype(int) - pixels).max() <= 2
    (alone,) = open_source(tmp_path / f'a{suffix}')
    assert alone.frame is not None


@pytest.mark.parametrize('suffix', ['.bmp', '.webp', '.tif', '.ppm'])
def test_cut_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f'a{suffix}'
    rec.write_png(file, np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8))
    whole = file.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9):
        file.write_bytes(whole[: int(len(whole) * share)])
        (entry,) = open_source(tmp_path)
        assert entry.frame is None, share
        assert entry.error and entry.error.startswith(f'a{suffix}: ')


@pytest.mark.parametrize('suffix', ['.bmp', '.webp', '.tif', '.ppm'])
def test_pictures_above_the_limit_are_refused(tmp_path: Path, suffix: str) -> None:
    rec.write_png(tmp_path / f'a{suffix}', rec.picture(1))
    (entry,) = open_source(tmp_path, SourceOptions(max_megapixels=0.001))
    assert entry.frame is None


def test_pictures_of_other_kinds_are_named(tmp_path: Path) -> None:
    rec.write_folder(tmp_path, 2)
    (tmp_path / 'phone.HEIC').write_bytes(b'x')
    source = open_source(tmp_path)
    assert len(source) == 2
    assert '1 pictures are left out' in source.notes[0] and 'phone.HEIC' in source.notes[0]
    for file in tmp_path.glob('*.png'):
        file.unlink()
    with pytest.raises(SourceError, match=r'no image \(.*\) and no bag, but phone\.HEIC; give'):
        open_source(tmp_path)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_ten_bits_in_files_of_sixteen(tmp_path: Path, suffix: str) -> None:
    for index in range(4):
        pixels = np.full((48, 64, 3), 256 * index + 100, np.uint16)
        rec.write_png(tmp_path / f'{index}{suffix}', pixels)
    source = open_source(tmp_path)
    found = [int(entry.frame.pixels[0, 0, 0]) for entry in source if entry.frame]
    assert found == [(256 * index + 100) >> 2 for index in range(4)]
    assert 'are taken to hold 10' in source.notes[0]
    full = open_source(tmp_path, SourceOptions(bits=16))
    assert [int(entry.frame.pixels[0, 0, 0]) for entry in full if entry.frame] == [0, 1, 2, 3]


def test_the_photos_focal_length_is_the_calibration(tmp_path: Path) -> None:
    for name in 'ab':
        rec.write_photo(tmp_path / f'{name}.jpg', rec.picture(3), rec.exif(6, 26))
    source = open_source(tmp_path)
    assert source.calibration is not None
    assert (source.calibration.width, source.calibration.height) == (48, 64)
    assert source.calibration.fx == pytest.approx(26 / 43.2666 * 80, rel=1e-4)
    assert any("from the photos' Exif: a focal length of 48 pixels" in n for n in source.notes)
    rec.write_photo(tmp_path / 'c.jpg', rec.picture(3), rec.exif(6, 52))
    zoomed = open_source(tmp_path)
    assert zoomed.calibration is None
    assert 'several focal lengths' in zoomed.camera_fault


def test_what_macos_leaves_beside_images_is_none(tmp_path: Path) -> None:
    """Its ._NAME files have the names of the images, and of the labels."""
    clip = rec.write_folder(tmp_path / 'clip', 2)
    rec.write_png(tmp_path / 'labels' / 'frame0.png', rec.labels(0))
    for place in (clip / '._frame0.png', tmp_path / 'labels' / '._frame0.png'):
        place.write_bytes(b'\0\5\x16\7')
    entries = list(open_source(clip, SourceOptions(labels=tmp_path / 'labels')))
    assert [entry.key for entry in entries] == ['frame0', 'frame1']
    rec.assert_labels(entries[0].labels, 0)


def test_images_and_labels_in_one_folder_are_refused(tmp_path: Path) -> None:
    """Labels would be segmented and scored as images."""
    clip = rec.write_folder(tmp_path / 'clip', 1)
    rec.write_photo(clip / 'frame0.jpg', rec.picture(0))
    with pytest.raises(SourceError, match='in one folder, .*clip: .* move them into a folder'):
        open_source(clip, SourceOptions(labels=tmp_path / 'other' / '..' / 'clip'))
    (note,) = open_source(clip).notes
    assert '2 images have the name of another (frame0.jpg, frame0.png)' in note


def test_a_folder_without_images_says_what_lies_there(tmp_path: Path) -> None:
    rec.write_folder(tmp_path / 'images' / 'val', 1)
    rec.write_video(tmp_path / 'images' / 'drive.mp4', 1)
    with pytest.raises(SourceError, match=r'and no bag, but drive\.mp4, val/; give a folder'):
        open_source(tmp_path / 'images')
