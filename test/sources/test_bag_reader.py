"""Damaged and incomplete bags: what is whole is read, what is lost is counted and named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import recordings as rec

from segformer_ros.sources import SourceError, open_source

# Noise does not compress, so that several chunks of 1 MiB come about.
SIZE = (200, 300)
COUNT = 30


def write_noise(path: Path, compression: str = 'none', start: int = 0) -> Path:
    """A bag of noise whose first pixel is the frame's index."""
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    with rec.open_bag(path, compression=compression) as writer:
        bag = rec.BagRecorder(writer)
        camera = bag.topic('/cam/image', rec.IMAGE)
        for index in range(start, start + COUNT):
            noise[0, 0] = index
            bag.write(camera, rec.image(noise, 'bgr8', rec.stamp_ns(index)), rec.stamp_ns(index))
    return path


def break_compression(file: Path) -> None:
    """Spoil the zstd frame next to the middle of a file."""
    data = bytearray(file.read_bytes())
    start = data.index(b'\x28\xb5\x2f\xfd', len(data) // 2)
    data[start : start + 4] = bytes(4)
    file.write_bytes(data)


def first_pixels(path: Path) -> list[int | None]:
    """Index written into each frame, None for a lost one."""
    return [
        None if entry.frame is None else int(entry.frame.pixels[0, 0, 0])
        for entry in open_source(path)
    ]


def test_a_folder_without_metadata_is_read_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / 'crashed'
    folder.mkdir()
    for part in range(2):
        bag = write_noise(tmp_path / f'part_{part}', start=part * COUNT)
        shutil.copy(bag / f'part_{part}.mcap', folder / f'crashed_{part + 9}.mcap')
    source = open_source(folder)
    assert len(source) == 2 * COUNT
    assert 'has no metadata.yaml' in source.notes[0]
    # crashed_9 comes before crashed_10.
    assert first_pixels(folder) == list(range(2 * COUNT))
    assert [entry.index for entry in source.frames(COUNT - 1, COUNT + 1)] == [COUNT - 1, COUNT]


def test_a_bag_that_was_cut_off_is_read_to_its_last_whole_record(tmp_path: Path) -> None:
    whole = (write_noise(tmp_path / 'whole') / 'whole.mcap').read_bytes()
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    source = open_source(cut)
    assert 'was cut off' in source.notes[0]
    assert len(source) in range(COUNT // 3, COUNT)
    assert first_pixels(cut) == list(range(len(source)))


@pytest.mark.parametrize('name', ['whole.mcap', ''])
def test_a_damaged_chunk_costs_its_own_messages_only(tmp_path: Path, name: str) -> None:
    bag = write_noise(tmp_path / 'whole', 'storage')
    break_compression(bag / 'whole.mcap')
    found = first_pixels(bag / name)
    lost = [index for index, pixel in enumerate(found) if pixel is None]
    assert len(found) == COUNT
    assert len(lost) in range(1, COUNT // 2)
    assert lost[0] > 0
    assert lost[-1] < COUNT - 1
    assert all(pixel in (None, index) for index, pixel in enumerate(found))
    errors = [entry.error or '' for entry in open_source(bag / name).frames(lost[0], lost[0] + 1)]
    assert 'damaged chunk' in errors[0]


def test_damage_in_one_message_of_a_bag_compressed_by_message_is_said(tmp_path: Path) -> None:
    bag = write_noise(tmp_path / 'drive', 'message')
    break_compression(bag / 'drive.mcap')
    source = open_source(bag)
    entries = list(source)
    assert len(entries) == len(source) == COUNT
    assert any('is damaged' in (entry.error or '') for entry in entries)
    assert [entry.index for entry in entries] == list(range(COUNT))


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'cannot read bag .*empty'),
        (b'just text', 'cannot read bag .*magic'),
        (b'\x89MCAP0\r\n', 'cannot read bag'),
    ],
)
def test_what_is_no_bag_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / 'x.mcap').write_bytes(content)
    with pytest.raises(SourceError, match=words):
        open_source(tmp_path / 'x.mcap')


def test_a_missing_part_of_a_split_bag_is_refused(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 3)
    (bag / 'drive.mcap').unlink()
    with pytest.raises(SourceError, match='files are missing'):
        open_source(bag)
