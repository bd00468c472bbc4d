# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Damaged and incomplete bags: what is whole is read, what is lost is counted and named."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import recordings as rec
import yaml
import zstandard

from segformer_ros.recordings import SourceError, SourceOptions, mcap_records, open_source
from segformer_ros.recordings import bag_storage as zstd

# Noise does not compress, so that several chunks of 1 MiB come about.
SIZE = (200, 300)
COUNT = 30


def write_noise(
    path: Path, compression: str = 'none', start: int = 0, storage: str = 'mcap'
) -> Path:
    """A bag of noise whose first pixel is the frame's index."""
    random = np.random.default_rng(0)
    with rec.open_bag(path, storage, compression) as writer:
        bag = rec.BagRecorder(writer)
        camera = bag.topic('/cam/image', rec.IMAGE)
        for index in range(start, start + COUNT):
            noise = random.integers(0, 255, (*SIZE, 3), np.uint8)
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


def break_message(file: Path, number: int) -> None:
    """Spoil the zstd frame of one message, in the order of the file."""
    data = bytearray(file.read_bytes())
    start = -1
    for _ in range(number + 1):
        start = data.index(b'\x28\xb5\x2f\xfd', start + 1)
    data[start : start + 4] = bytes(4)
    file.write_bytes(data)


@pytest.mark.parametrize(('storage', 'suffix'), [('mcap', 'mcap'), ('sqlite3', 'db3')])
def test_damage_in_one_message_of_a_bag_compressed_by_message_costs_that_one(
    tmp_path: Path, storage: str, suffix: str
) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 9, storage, 'message')
    # Camera info comes first, then image and labels by turns.
    break_message(bag / f'drive.{suffix}', 1 + 2 * 4)
    entries = list(open_source(bag))
    assert [entry.index for entry in entries] == list(range(9))
    assert [entry.index for entry in entries if entry.frame is None] == [4]
    assert 'is damaged: the message recorded at' in (entries[4].error or '')
    source = open_source(bag)
    list(source)
    found = [rec.index_of(entry.frame.pixels) for entry in source.frames(5) if entry.frame]
    assert found == [5, 6, 7, 8]


def test_a_damaged_label_costs_that_one(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 9, 'sqlite3', 'message')
    break_message(bag / 'drive.db3', 2 + 2 * 4)
    entries = list(open_source(bag, SourceOptions(label_topic='/front/labels')))
    lost = [entry for entry in entries if entry.labels is None]
    assert len(lost) == 1
    assert '1 of its messages cannot be read' in (lost[0].error or '')


@pytest.mark.parametrize(
    ('whole', 'compression'),
    [('drive/drive.db3', 'none'), ('drive', 'none'), ('drive', 'file'), ('drive', 'message')],
)
def test_a_cut_database_is_read_to_its_last_whole_message(
    tmp_path: Path, whole: str, compression: str
) -> None:
    bag = write_noise(tmp_path / 'drive', compression, storage='sqlite3')
    file = next(bag.glob('drive.db3*'))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    source = open_source(tmp_path / whole)
    assert 'was cut off; its first' in source.notes[-1]
    assert len(source) in range(COUNT // 3, COUNT)
    assert first_pixels(tmp_path / whole) == list(range(len(source)))
    assert [entry.index for entry in source.frames(5, 7)] == [5, 6]


def test_a_database_of_which_little_is_left_is_refused(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 3, 'sqlite3')
    file = bag / 'drive.db3'
    file.write_bytes(file.read_bytes()[:2048])
    with pytest.raises(SourceError, match='cannot read bag'):
        open_source(file)


def split_bag(folder: Path, compression: str = 'none') -> Path:
    """A bag of three files of COUNT frames each, with its metadata."""
    folder.mkdir()
    names = []
    for place in range(3):
        bag = write_noise(folder.parent / f'part_{place}', compression, place * COUNT)
        metadata = yaml.safe_load((bag / 'metadata.yaml').read_text())
        facts = metadata['rosbag2_bagfile_information']
        names += facts['relative_file_paths']
        shutil.copy(bag / names[-1], folder)
    facts['relative_file_paths'] = names
    facts['topics_with_message_count'][0]['message_count'] *= 3
    (folder / 'metadata.yaml').write_text(yaml.safe_dump(metadata))
    return folder


@pytest.mark.parametrize('compression', ['none', 'file', 'message'])
def test_a_cut_file_of_a_split_bag_costs_its_end(tmp_path: Path, compression: str) -> None:
    bag = split_bag(tmp_path / 'drive', compression)
    file = next(bag.glob('part_1.*'))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    source = open_source(bag)
    assert 'is not as its metadata.yaml says' in source.notes[0]
    assert f'{file} was cut off' in source.notes[1]
    found = first_pixels(bag)
    assert found[:COUNT] == list(range(COUNT))
    assert found[-COUNT:] == list(range(2 * COUNT, 3 * COUNT))
    middle = found[COUNT:-COUNT]
    assert len(middle) in range(COUNT // 3, COUNT)
    assert middle == list(range(COUNT, COUNT + len(middle)))


def test_a_missing_file_of_a_split_bag_is_named(tmp_path: Path) -> None:
    bag = split_bag(tmp_path / 'drive')
    (bag / 'part_1.mcap').unlink()
    assert 'part_1.mcap is missing' in open_source(bag).notes[1]
    assert first_pixels(bag) == [*range(COUNT), *range(2 * COUNT, 3 * COUNT)]


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
    with pytest.raises(SourceError, match=r'drive.mcap is missing; copy'):
        open_source(bag)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('compression', ['file', 'message'])
@pytest.mark.parametrize('whole', [True, False])
def test_compressed_bags_without_metadata(
    tmp_path: Path, storage: str, compression: str, whole: bool
) -> None:
    """As a killed recorder leaves them; or one of their files alone."""
    bag = rec.write_bag(tmp_path / 'drive', 4, storage, compression)
    (bag / 'metadata.yaml').unlink()
    (file,) = bag.iterdir()
    source = open_source(bag if whole else file)
    assert [rec.index_of(entry.frame.pixels) for entry in source if entry.frame] == [0, 1, 2, 3]
    words = ('has no metadata.yaml: its files are read in name order',) if whole else ()
    assert tuple(note[len(str(bag)) + 1 :] for note in source.notes) == words


def test_a_file_that_was_being_compressed_is_read_once(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 4)
    packed = rec.write_bag(tmp_path / 'packed', 4, compression='file') / 'packed.mcap.zstd'
    (bag / 'drive.mcap.zstd').write_bytes(packed.read_bytes()[:100])
    for metadata in (True, False):
        if not metadata:
            (bag / 'metadata.yaml').unlink()
        assert len(list(open_source(bag))) == 4


@pytest.mark.parametrize(('listed', 'lies'), [('none', 'file'), ('file', 'none')])
def test_a_listed_file_may_lie_there_compressed_or_not(
    tmp_path: Path, listed: str, lies: str
) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 4, compression=listed)
    other = rec.write_bag(tmp_path / 'other/drive', 4, compression=lies)
    next(bag.glob('drive*')).unlink()
    shutil.copy(next(other.glob('drive*')), bag)
    source = open_source(bag)
    assert len(list(source)) == 4 and source.notes == ()


def test_a_file_that_metadata_does_not_have_is_named(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 4)
    shutil.copy(bag / 'drive.mcap', bag / 'drive_1.mcap')
    source = open_source(bag)
    assert len(source) == 4
    assert source.notes[1] == 'drive_1.mcap is left out: metadata.yaml does not list it'


@pytest.mark.parametrize('text', ['', 'rosbag2_bagfile_information:', '- 1', '\0'])
def test_metadata_that_cannot_be_read_are_done_without(tmp_path: Path, text: str) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 4)
    (bag / 'metadata.yaml').write_text(text)
    source = open_source(bag)
    assert len(list(source)) == 4
    assert 'has a metadata.yaml that cannot be read: its files' in source.notes[0]


def test_what_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / 'drive'
    folder.mkdir()
    stream = zstandard.ZstdCompressor(level=3).compressobj()
    with (folder / 'drive.mcap.zstd').open('wb') as file:
        for _ in range(1100):
            file.write(stream.compress(bytes(1 << 20)))
        file.write(stream.flush())
    with pytest.raises(SourceError, match='cannot read bag .*hold more than'):
        open_source(folder)


def test_the_log_of_a_killed_recorder_is_read_with_its_bag(tmp_path: Path) -> None:
    """Frames that only drive.db3-wal has."""
    bag = rec.write_bag(tmp_path / 'drive', 5, 'sqlite3')
    (bag / 'metadata.yaml').unlink()
    file = bag / 'drive.db3'
    with closing(sqlite3.connect(file)) as database:
        database.execute('PRAGMA journal_mode=WAL')
        database.execute('PRAGMA wal_autocheckpoint=0')
        rows = database.execute('SELECT topic_id, timestamp, data FROM messages').fetchall()
        copies = [(topic, time + 10**9, data) for topic, time, data in rows]
        insert = 'INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)'
        database.executemany(insert, copies)
        database.commit()
        log = (bag / 'drive.db3-wal').read_bytes()
        main = file.read_bytes()
    file.write_bytes(main)
    (bag / 'drive.db3-wal').write_bytes(log)
    assert len(list(open_source(bag))) == 10
    assert (bag / 'drive.db3-wal').read_bytes() == log and file.read_bytes() == main


def test_a_bag_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 4)
    file = bag / 'drive.mcap'
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(
        SourceError, match=r'no topic at all \(.*drive.mcap was cut off; its first'
    ):
        open_source(bag)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('topics_with_message_count', 'all'),
        ('topics_with_message_count', [{'topic_metadata': None, 'message_count': 1}]),
        ('relative_file_paths', {'a': 1}),
        ('relative_file_paths', [None]),
        ('version', 'nine'),
        ('compression_mode', ['message']),
        ('duration', -1),
        ('message_count', 1e400),
    ],
)
def test_metadata_of_any_kind_does_not_hide_the_files(
    tmp_path: Path, key: str, value: object
) -> None:
    bag = rec.write_bag(tmp_path / 'bag', 3)
    metadata = yaml.safe_load((bag / 'metadata.yaml').read_text())
    metadata['rosbag2_bagfile_information'][key] = value
    (bag / 'metadata.yaml').write_text(yaml.safe_dump(metadata))
    source = open_source(bag)
    assert len([entry for entry in source if entry.frame is not None]) == 3
    assert any('has a metadata.yaml that cannot be read' in note for note in source.notes)


@pytest.mark.parametrize('bomb', ['a: &a [*a]', '[' * 5000, 'a: 2001-99-99', '\0'])
def test_metadata_that_blow_up_do_not_hide_the_files(tmp_path: Path, bomb: str) -> None:
    bag = rec.write_bag(tmp_path / 'bag', 3)
    (bag / 'metadata.yaml').write_text(bomb)
    assert len(open_source(bag)) == 3


@pytest.mark.timeout(60)
@pytest.mark.parametrize('count', [2**39, -5])
def test_a_count_that_is_only_claimed_is_no_number_of_frames(tmp_path: Path, count: int) -> None:
    bag = rec.write_bag(tmp_path / 'bag', 3)
    metadata = yaml.safe_load((bag / 'metadata.yaml').read_text())
    for topic in metadata['rosbag2_bagfile_information']['topics_with_message_count']:
        topic['message_count'] = count
    (bag / 'metadata.yaml').write_text(yaml.safe_dump(metadata))
    source = open_source(bag)
    size = sum(file.stat().st_size for file in bag.iterdir())
    assert 3 <= len(source) <= size
    assert sum(entry.frame is not None for entry in source) == 3


@pytest.mark.timeout(20)
def test_a_pipe_among_the_files_is_not_waited_for(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'bag', 3)
    (bag / 'metadata.yaml').unlink()
    os.mkfifo(bag / 'metadata.yaml')
    os.mkfifo(bag / 'zzz.mcap')
    assert len(open_source(bag)) == 3


@pytest.mark.parametrize('compression', ['storage', 'message'])
def test_what_unpacks_to_more_than_a_message_is_lost_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    """In chunks of an mcap, and in messages of their own."""
    bag = rec.write_bag(tmp_path / 'drive', 3, 'mcap', compression)
    monkeypatch.setattr(zstd, 'MAX_MESSAGE_BYTES', 100)
    monkeypatch.setattr(mcap_records, 'MAX_MESSAGE_BYTES', 100)
    errors = [entry.error or '' for entry in open_source(bag)]
    assert len(errors) == 3
    assert all('more than 100' in error for error in errors)


def test_a_compressed_file_that_holds_far_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 3, 'sqlite3', 'file')
    monkeypatch.setattr(zstd, '_SMALL_FILE', 100)
    monkeypatch.setattr(zstd, 'MAX_RATIO', 1)
    with pytest.raises(SourceError, match=r'drive.db3.zstd: .* hold more than .* no recording'):
        open_source(bag)
