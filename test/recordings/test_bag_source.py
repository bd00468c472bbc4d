# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Bags as sources: storages, compression, topics, labels, calibration."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import recordings as rec

from segformer_ros.recordings import Source, SourceError, SourceFrame, SourceOptions, open_source
from segformer_ros.recordings.bag_source import BagSource

WITH_LABELS = SourceOptions(label_topic='/front/labels')
COUNT = 12


@pytest.mark.parametrize(
    ('storage', 'compression'),
    [
        ('mcap', 'none'),
        ('mcap', 'file'),
        ('mcap', 'message'),
        ('mcap', 'storage'),
        ('sqlite3', 'none'),
        ('sqlite3', 'file'),
        ('sqlite3', 'message'),
    ],
)
@pytest.mark.parametrize('kind', ['', 'jpeg', 'png'])
def test_every_storage_gives_the_same_frames(
    tmp_path: Path, storage: str, compression: str, kind: str
) -> None:
    bag = rec.write_bag(tmp_path / 'drive', COUNT, storage, compression, kind)
    source = open_source(bag, WITH_LABELS)
    entries = list(source)
    assert len(source) == len(entries) == COUNT
    assert source.notes == ()
    for index, entry in enumerate(entries):
        assert entry.error is None
        assert entry.frame is not None
        assert entry.frame.stamp.ns == rec.stamp_ns(index)
        assert entry.frame.frame_id == 'front_optical'
        assert rec.index_of(entry.frame.pixels) == index
        rec.assert_labels(entry.labels, index)


def test_any_part_equals_the_same_part_of_the_whole(tmp_path: Path) -> None:
    source = open_source(rec.write_bag(tmp_path / 'drive', COUNT), WITH_LABELS)
    whole = [(entry.index, entry.key) for entry in source]
    assert [(entry.index, entry.key) for entry in source.frames(3, 7)] == whole[3:7]
    assert [entry.index for entry in source.frames(10)] == [10, 11]
    assert list(source.frames(COUNT, COUNT + 5)) == []
    for entry in source.frames(5, 6):
        rec.assert_labels(entry.labels, 5)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_parts_are_found_again_in_any_order(tmp_path: Path, storage: str) -> None:
    """Also where several messages were recorded at the same time."""
    with rec.open_bag(tmp_path / 'drive', storage) as writer:
        bag = rec.BagRecorder(writer)
        camera = bag.topic('/cam/image', rec.IMAGE)
        for index in range(12):
            bag.write(camera, rec.image(rec.picture(index), 'bgr8', index), 100 + index // 3)
    source = open_source(tmp_path / 'drive')
    for start, stop in ((0, 4), (2, 3), (7, 12), (4, 5), (11, 12), (5, 11), (0, 12)):
        entries = list(source.frames(start, stop))
        assert [entry.index for entry in entries] == list(range(start, stop))
        found = [rec.index_of(entry.frame.pixels) for entry in entries if entry.frame]
        assert found == list(range(start, stop))


def test_pixels_are_a_view_of_the_message(tmp_path: Path) -> None:
    entry = next(iter(open_source(rec.write_bag(tmp_path / 'drive', 2))))
    assert entry.frame is not None
    assert not entry.frame.pixels.flags.owndata


def test_calibration_comes_from_the_info_beside_the_image(tmp_path: Path) -> None:
    calibration = open_source(rec.write_bag(tmp_path / 'drive', 2)).calibration
    assert calibration is not None
    assert (calibration.width, calibration.height, calibration.fx) == (64, 48, 80.0)


@pytest.mark.parametrize(
    ('topic', 'rectified'),
    [('image_rect', True), ('image_rect_color', True), ('image_direct', False), ('image', False)],
)
def test_only_topics_named_so_are_rectified(tmp_path: Path, topic: str, rectified: bool) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, info = (
            bag.topic(f'/cam/{topic}', rec.IMAGE),
            bag.topic('/cam/camera_info', rec.INFO),
        )
        bag.write(info, replace(rec.camera_info(), d=np.array([-0.3, 0, 0, 0, 0])), 1)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', 1), 1)
    calibration = open_source(tmp_path / 'drive').calibration
    assert calibration is not None
    assert (calibration.model == 'none') == rectified


def test_an_unusable_calibration_is_noted_and_left_out(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, info = bag.topic('/cam/image', rec.IMAGE), bag.topic('/cam/camera_info', rec.INFO)
        bag.write(info, rec.camera_info(focal=0.0), 1)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', 1), 1)
    source = open_source(tmp_path / 'drive')
    assert source.calibration is None
    assert any('/cam/camera_info is not used' in note for note in source.notes)


def test_a_calibration_of_another_size_is_noted_and_left_out(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, info = bag.topic('/cam/image', rec.IMAGE), bag.topic('/cam/camera_info', rec.INFO)
        bag.write(info, rec.camera_info(size=(96, 128)), 1)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', 1), 1)
    source = open_source(tmp_path / 'drive')
    assert source.calibration is None
    assert 'the calibration is for 128x96 images, but the image is 64x48' in source.notes[0]


@pytest.mark.parametrize(('frame_id', 'used'), [('front', True), ('rear', False)])
def test_the_info_of_another_camera_is_not_used(tmp_path: Path, frame_id: str, used: bool) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, info = bag.topic('/front/image', rec.IMAGE), bag.topic('/lens/info', rec.INFO)
        calibration, image = rec.camera_info(), rec.image(rec.picture(0), 'bgr8', 1)
        calibration.header.frame_id, image.header.frame_id = frame_id, 'front'
        bag.write(info, calibration, 1)
        bag.write(camera, image, 1)
    source = open_source(tmp_path / 'drive')
    assert (source.calibration is not None) == used
    words = "/lens/info is not used: it is of the frame 'rear', the images of /front/image are of"
    assert any(words in note for note in source.notes) != used


def test_a_bag_without_images_names_its_topics(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        bag.write(bag.topic('/imu', rec.INFO), rec.camera_info(), 1)
    with pytest.raises(SourceError, match=r'no camera image topic; it has /imu \(sensor_msgs/'):
        open_source(tmp_path / 'drive')


def test_of_two_cameras_one_must_be_chosen(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        for number, name in enumerate(('/left/image', '/right/image')):
            bag.write(bag.topic(name, rec.IMAGE), rec.image(rec.picture(number), 'bgr8', 1), 1)
    with pytest.raises(SourceError, match='2 camera image topics, choose one.*/left/image, /rig'):
        open_source(tmp_path / 'drive')
    entry = next(iter(open_source(tmp_path / 'drive', SourceOptions(topic='/right/image'))))
    assert entry.frame is not None
    assert rec.index_of(entry.frame.pixels) == 1


def write_transports(path: Path, written: dict[str, int]) -> Path:
    """A bag with these image topics of one camera, and how many messages each has."""
    with rec.open_bag(path) as writer:
        bag = rec.BagRecorder(writer)
        for name, count in written.items():
            raw = name.endswith(('raw', 'labels'))
            topic = bag.topic(name, rec.IMAGE if raw else rec.COMPRESSED)
            for index in range(count):
                time = rec.stamp_ns(index)
                pixels = rec.picture(index)
                message = rec.image(pixels, 'bgr8', time)
                if not raw:
                    message = rec.compressed(pixels, 'png', time)
                bag.write(topic, message, time)
    return path


@pytest.mark.parametrize(
    ('written', 'read', 'note'),
    [
        (
            {'/i/raw': 0, '/i/raw/compressed': 2, '/i/raw/compressedDepth': 0, '/i/raw/zstd': 0},
            '/i/raw/compressed',
            '/i/raw/compressed is read; /i/raw has no message, /i/raw/zstd has no message',
        ),
        (
            {'/i/raw': 2, '/i/raw/compressed': 1},
            '/i/raw',
            '/i/raw is read; /i/raw/compressed has the same images',
        ),
        (
            {'/i/raw': 0, '/j/raw': 2},
            '/j/raw',
            '/j/raw is read; /i/raw has no message',
        ),
        ({'/i/raw': 2}, '/i/raw', ''),
    ],
)
def test_topics_without_messages_are_no_cameras(
    tmp_path: Path, written: dict[str, int], read: str, note: str
) -> None:
    source = open_source(write_transports(tmp_path / 'drive', written))
    assert isinstance(source, BagSource)
    assert source.topic == read
    assert source.notes == ((note,) if note else ())
    assert [entry.error for entry in source] == [None, None]


def test_labels_are_no_camera(tmp_path: Path) -> None:
    bag = write_transports(tmp_path / 'drive', {'/i/raw': 2, '/truth/labels': 0, '/t/raw': 2})
    source = open_source(bag, SourceOptions(label_topic='/t/raw'))
    assert isinstance(source, BagSource)
    assert source.topic == '/i/raw'


@pytest.mark.parametrize(
    ('topic', 'words'),
    [
        ('', 'is empty: its image topics /i/raw, /j/raw have no message'),
        ('/i/raw', 'topic /i/raw of .* has no message'),
    ],
)
def test_image_topics_without_messages(tmp_path: Path, topic: str, words: str) -> None:
    bag = write_transports(tmp_path / 'drive', {'/i/raw': 0, '/j/raw': 0})
    with pytest.raises(SourceError, match=words):
        open_source(bag, SourceOptions(topic=topic))


def test_a_topic_without_messages_names_the_one_that_has_some(tmp_path: Path) -> None:
    bag = write_transports(tmp_path / 'drive', {'/i/raw': 0, '/i/raw/compressed': 1})
    with pytest.raises(SourceError, match='has no message; /i/raw/compressed has some'):
        open_source(bag, SourceOptions(topic='/i/raw'))


def write_infos(path: Path, *focal: float) -> Path:
    """A bag of one image and camera infos of these focal lengths."""
    with rec.open_bag(path) as writer:
        bag = rec.BagRecorder(writer)
        info = bag.topic('/cam/camera_info', rec.INFO)
        for place, length in enumerate(focal):
            bag.write(info, rec.camera_info(length), 1 + place)
        image = rec.image(rec.picture(0), 'bgr8', 1)
        bag.write(bag.topic('/cam/image', rec.IMAGE), image, 1)
    return path


def test_the_first_camera_info_that_is_one_counts(tmp_path: Path) -> None:
    source = open_source(write_infos(tmp_path / 'drive', 0.0, 0.0, 80.0, 90.0))
    assert source.calibration is not None
    assert source.calibration.fx == 80.0
    (note,) = source.notes
    assert note.startswith('the first 2 camera infos of /cam/camera_info are not used: ')


def test_camera_infos_of_zeros_are_told(tmp_path: Path) -> None:
    source = open_source(write_infos(tmp_path / 'drive', 0.0, 0.0))
    assert source.calibration is None
    (note,) = source.notes
    assert note.startswith('camera info of /cam/camera_info is not used: ')


def test_raw_and_compressed_of_one_camera_and_our_own_outputs_leave_no_choice(
    tmp_path: Path,
) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        frame = rec.image(rec.picture(3), 'bgr8', 1)
        for name in ('/cam/image', '/cam/segmentation/mask', '/cam/segmentation/overlay'):
            bag.write(bag.topic(name, rec.IMAGE), frame, 1)
        jpeg = rec.compressed(rec.picture(3), 'jpeg', 1)
        bag.write(bag.topic('/cam/image/compressed', rec.COMPRESSED), jpeg, 1)
    entries = list(open_source(tmp_path / 'drive'))
    assert len(entries) == 1
    assert entries[0].frame is not None
    assert entries[0].frame.frame_id == 'front_optical'


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (SourceOptions(topic='/rear/image'), 'has no topic /rear/image; it has /front/camera_inf'),
        (SourceOptions(topic='/front/camera_info'), 'holds sensor_msgs/msg/CameraInfo, not image'),
        (SourceOptions(label_topic='/truth'), 'has no topic /truth'),
    ],
)
def test_a_wrong_topic_is_refused(tmp_path: Path, options: SourceOptions, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        open_source(rec.write_bag(tmp_path / 'drive', 1), options)


def test_an_empty_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='is empty: its topic /front/image has no message'):
        open_source(rec.write_bag(tmp_path / 'drive', 0))


def test_another_definition_of_image_is_refused(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        text = 'std_msgs/Header header\nuint32 rows\nuint8[] data\n'
        camera = writer.add_connection('/cam/image', rec.IMAGE, msgdef=text, rihs01='RIHS01_00')
        writer.write(camera, 1, b'\0' * 32)
    with pytest.raises(SourceError, match='with the fields header, rows, data'):
        open_source(tmp_path / 'drive')


def test_broken_messages_are_entries_of_their_own(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera = bag.topic('/cam/image', rec.IMAGE)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', 1), 1)
        writer.write(camera, 2, b'\0\1\0\0nonsense')
        bag.write(camera, rec.image(rec.picture(2), 'xyz9', 3), 3)
        short = rec.image(rec.picture(3), 'bgr8', 4)
        short.data = short.data[:100]
        bag.write(camera, short, 4)
        bag.write(camera, rec.image(rec.picture(4), 'bgr8', 5), 5)
    errors = [entry.error or '' for entry in open_source(tmp_path / 'drive')]
    assert errors[0] == errors[4] == ''
    assert 'message 1' in errors[1] and 'are not a sensor_msgs/msg/Image' in errors[1]
    assert "unknown image encoding 'xyz9'" in errors[2]
    assert 'truncated image' in errors[3]


def test_labels_are_found_by_stamp_whatever_their_order(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, truth = bag.topic('/cam/image', rec.IMAGE), bag.topic('/labels', rec.IMAGE)
        for index in range(6):
            time = rec.stamp_ns(index)
            bag.write(camera, rec.image(rec.picture(index), 'bgr8', time), time)
        for place, index in enumerate((4, 1, 5, 0)):
            message = rec.image(rec.labels(index), 'mono8', rec.stamp_ns(index) + 3_000_000)
            bag.write(truth, message, rec.stamp_ns(10 + place))
    options = SourceOptions(label_topic='/labels', label_tolerance=0.005)
    entries = list(open_source(tmp_path / 'drive', options))
    assert [entry.index for entry in entries if entry.labels is not None] == [0, 1, 4, 5]
    for entry in entries:
        if entry.labels is not None:
            rec.assert_labels(entry.labels, entry.index)
        else:
            assert entry.frame is not None
            assert 'has no labels stamped' in (entry.error or '')
    exact = list(open_source(tmp_path / 'drive', SourceOptions(label_topic='/labels')))
    assert all(entry.labels is None for entry in exact)


def labels_found(bag: Path, tolerance: float, start: int = 0) -> list[int | None]:
    """Index of the label that each image has."""
    options = SourceOptions(label_topic='/labels', label_tolerance=tolerance)
    return [
        None if entry.labels is None else int(entry.labels[1, 0])
        for entry in open_source(bag, options).frames(start)
    ]


def write_stamped(path: Path, images: list[int], labels: list[int]) -> Path:
    """A bag of images and labels with these stamps in ms after the first."""
    with rec.open_bag(path) as writer:
        bag = rec.BagRecorder(writer)
        camera, truth = bag.topic('/cam/image', rec.IMAGE), bag.topic('/labels', rec.IMAGE)
        for index, ms in enumerate(images):
            time = rec.START_NS + ms * 1_000_000
            bag.write(camera, rec.image(rec.picture(index), 'bgr8', time), time)
        for index, ms in enumerate(labels):
            time = rec.START_NS + ms * 1_000_000
            bag.write(truth, rec.image(rec.labels(index), 'mono8', time), time)
    return path


def test_a_label_belongs_to_its_nearest_image_only(tmp_path: Path) -> None:
    bag = write_stamped(tmp_path / 'drive', [0, 33, 67, 100, 133, 167], [0, 101])
    expected = [0, None, None, 1, None, None]
    assert labels_found(bag, 0.05) == expected
    # Whatever part is read first.
    assert [labels_found(bag, 0.05, start) for start in range(6)] == [
        expected[start:] for start in range(6)
    ]
    assert labels_found(bag, 0.0) == [0, None, None, None, None, None]


def test_of_two_labels_an_image_has_the_nearest_of_its_own(tmp_path: Path) -> None:
    # The first three labels are nearest to the image at 100 ms, of which it has the second.
    bag = write_stamped(tmp_path / 'drive', [0, 100, 120], [92, 103, 109, 135])
    assert labels_found(bag, 0.05) == [None, 1, 3]


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        (rec.labels(0, (10, 10)), 'has 10x10 pixels, its frame 64x48'),
        (rec.labels(0).astype(np.uint16) + 26000, r'holds 26000 \('),
        (rec.picture(0) + np.array((1, 2, 3), np.uint8), 'has 3 channels of different values'),
    ],
)
def test_labels_that_do_not_fit_leave_the_frame(
    tmp_path: Path, values: np.ndarray, words: str
) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, truth = bag.topic('/cam/image', rec.IMAGE), bag.topic('/labels', rec.COMPRESSED)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', 7), 7)
        bag.write(truth, rec.compressed(values, 'png', 7), 7)
    entry = next(iter(open_source(tmp_path / 'drive', SourceOptions(label_topic='/labels'))))
    assert entry.frame is not None
    assert entry.labels is None
    assert re.search(words, entry.error or '')


def first_labelled(
    tmp_path: Path, values: np.ndarray, encoding: str, **fields: int
) -> SourceFrame:
    """The frame of a bag whose labels are a raw image of this encoding, of any type of values."""
    width = values.shape[1]
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, truth = bag.topic('/cam/image', rec.IMAGE), bag.topic('/labels', rec.IMAGE)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', 7), 7)
        message = rec.image(values.reshape(len(values), -1).view(np.uint8), encoding, 7)
        bag.write(truth, replace(message, width=width, **fields), 7)
    return next(iter(open_source(tmp_path / 'drive', SourceOptions(label_topic='/labels'))))


@pytest.mark.parametrize(
    ('encoding', 'kind'),
    [('mono16', '<u2'), ('16UC1', '<u2'), ('16UC1', '>u2'), ('32SC1', '<i4'), ('8UC1', 'u1')],
)
def test_raw_labels_of_more_bits_are_ids_where_they_fit(
    tmp_path: Path, encoding: str, kind: str
) -> None:
    order = int(kind.startswith('>'))
    entry = first_labelled(tmp_path, rec.labels(3).astype(kind), encoding, is_bigendian=order)
    rec.assert_labels(entry.labels, 3)
    assert entry.error is None


def test_minus_one_is_not_scored_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    values = rec.labels(3).astype(np.int32)
    values[values == 255] = -1
    rec.assert_labels(first_labelled(tmp_path, values, '32SC1').labels, 3)
    values[5, 5] = 26001
    entry = first_labelled(tmp_path / 'other', values, '32SC1')
    assert entry.labels is None
    assert 'of /labels holds 26001 (1 pixels); train ids are 0 to 254' in (entry.error or '')
    assert '--label-ids cityscapes' in (entry.error or '')


def test_raw_labels_of_another_encoding_are_refused_by_its_name(tmp_path: Path) -> None:
    entry = first_labelled(tmp_path, rec.labels(3).astype('<f4'), '32FC1')
    assert entry.labels is None
    assert "labels of the encoding '32FC1'; record ids as mono8, 16UC1" in (entry.error or '')


@pytest.mark.parametrize(
    ('written', 'called', 'words'),
    [
        ('jpeg', 'jpeg', "labels of format 'jpeg' are not PNG"),
        ('jpeg', 'png', "labels of format 'png' are not PNG"),
        ('png', 'mono8', ''),
    ],
)
def test_lossy_labels_are_known_by_their_bytes(
    tmp_path: Path, written: str, called: str, words: str
) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, truth = bag.topic('/cam/image', rec.IMAGE), bag.topic('/labels', rec.COMPRESSED)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', 7), 7)
        message = rec.compressed(rec.labels(0), written, 7)
        message.format = called
        bag.write(truth, message, 7)
    entry = next(iter(open_source(tmp_path / 'drive', SourceOptions(label_topic='/labels'))))
    assert (entry.labels is None) == bool(words)
    assert words in (entry.error or '')


def test_a_cut_label_message_leaves_the_frame(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, truth = bag.topic('/cam/image', rec.IMAGE), bag.topic('/labels', rec.IMAGE)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', 7), 7)
        writer.write(truth, 7, b'\0\1\0\0\7')
    entry = next(iter(open_source(tmp_path / 'drive', SourceOptions(label_topic='/labels'))))
    assert entry.frame is not None
    assert 'has no labels stamped 0.000000007' in (entry.error or '')


def test_images_of_one_stamp_have_keys_of_their_own(tmp_path: Path) -> None:
    """The same ones whatever part is read; labels in a folder go by them."""
    bag = write_stamped(tmp_path / 'drive', [0, 100, 100, 100, 200], [])
    stem = f'{rec.START_NS // 10**9}_100000000'
    rec.write_png(tmp_path / 'labels' / f'{stem}.png', rec.labels(1))
    source = open_source(bag, SourceOptions(labels=tmp_path / 'labels'))
    entries = list(source)
    keys = [entry.key for entry in entries]
    assert keys[1:4] == [stem, f'{stem}_000002', f'{stem}_000003']
    assert len(set(keys)) == 5
    assert [entry.labels is not None for entry in entries] == [False, True, False, False, False]
    for start in range(5):
        fresh = open_source(bag, SourceOptions(labels=tmp_path / 'labels'))
        assert [entry.key for entry in fresh.frames(start)] == keys[start:]


def test_images_without_a_stamp_have_that_of_their_recording(tmp_path: Path) -> None:
    """And so have their labels."""
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera, truth = bag.topic('/cam/image', rec.IMAGE), bag.topic('/labels', rec.IMAGE)
        for index in range(3):
            time = rec.stamp_ns(index)
            bag.write(camera, rec.image(rec.picture(index), 'bgr8', 0), time)
            bag.write(truth, rec.image(rec.labels(index), 'mono8', 0), time + 1_000_000)
    options = SourceOptions(label_topic='/labels', label_tolerance=0.005)
    for index, entry in enumerate(open_source(tmp_path / 'drive', options)):
        assert entry.frame is not None
        assert entry.frame.stamp.ns == rec.stamp_ns(index)
        assert entry.key == f'{index:06d}'
        rec.assert_labels(entry.labels, index)


def deep_bag(path: Path, largest: tuple[int, ...], encoding: str = 'mono16') -> Path:
    """A bag of images of 16 bits, each of one value."""
    with rec.open_bag(path) as writer:
        bag = rec.BagRecorder(writer)
        camera = bag.topic('/cam/image', rec.IMAGE)
        for index, value in enumerate(largest):
            pixels = np.full((4, 6), value, np.uint16).view(np.uint8)
            message = rec.image(pixels, encoding, index + 1)
            bag.write(camera, replace(message, width=6), index + 1)
    return path


def values_of(source: Source, start: int = 0) -> list[int]:
    """The first channel of each frame's first pixel."""
    return [int(entry.frame.pixels[0, 0, 0]) for entry in source.frames(start) if entry.frame]


@pytest.mark.parametrize('encoding', ['mono16', 'bayer_rggb16'])
def test_the_bits_of_sixteen_are_the_same_for_the_whole_recording(
    tmp_path: Path, encoding: str
) -> None:
    source = open_source(deep_bag(tmp_path / 'drive', (200, 900, 4000, 100), encoding))
    assert values_of(source) == [12, 56, 250, 6]
    assert values_of(source, 3) == [6]
    assert 'values up to 4000 are taken to hold 12' in source.notes[0]
    full = open_source(tmp_path / 'drive', SourceOptions(bits=16))
    assert values_of(full) == [0, 3, 15, 0]
    assert full.notes == ()
    few = list(open_source(tmp_path / 'drive', SourceOptions(bits=10)))
    assert few[2].frame is None and 'give 12 bits' in (few[2].error or '')


def test_images_that_use_all_bits_need_no_note(tmp_path: Path) -> None:
    source = open_source(deep_bag(tmp_path / 'drive', (65000, 256)))
    assert values_of(source) == [253, 1]
    assert source.notes == ()


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_depth_images_are_no_camera(tmp_path: Path, encoding: str) -> None:
    bag = deep_bag(tmp_path / 'drive', (1000, 2000), encoding)
    with pytest.raises(SourceError, match='no camera image topic: /cam/image holds depth images'):
        open_source(bag)
    with pytest.raises(SourceError, match='topic /cam/image .* holds depth images'):
        open_source(bag, SourceOptions(topic='/cam/image'))
    with rec.open_bag(tmp_path / 'both') as writer:
        both = rec.BagRecorder(writer)
        deep, colour = both.topic('/cam/depth', rec.IMAGE), both.topic('/cam/image', rec.IMAGE)
        pixels = np.zeros((4, 6), np.uint16).view(np.uint8)
        both.write(deep, rec.image(pixels, encoding, 1), 1)
        both.write(colour, rec.image(rec.picture(1), 'bgr8', 1), 1)
    source = open_source(tmp_path / 'both')
    assert source.notes == ('/cam/image is read; /cam/depth holds depth images',)


def write_images(path: Path, stamps: list[int], encoding: str = 'bgr8') -> Path:
    """A bag with an image and its labels for each of the stamps."""
    with rec.open_bag(path) as writer:
        bag = rec.BagRecorder(writer)
        camera, truth = bag.topic('/cam/image', rec.IMAGE), bag.topic('/labels', rec.IMAGE)
        for index, stamp in enumerate(stamps):
            bag.write(camera, rec.image(rec.picture(index), encoding, stamp), rec.stamp_ns(index))
            labels = rec.image(rec.labels(index), 'mono8', stamp)
            bag.write(truth, labels, rec.stamp_ns(index))
    return path


def test_labels_of_repeated_stamps_are_not_guessed(tmp_path: Path) -> None:
    """All images of one stamp would be scored by the first one's labels."""
    bag = write_images(tmp_path / 'drive', [7, 7, 9])
    first, second, third = open_source(bag, SourceOptions(label_topic='/labels'))
    rec.assert_labels(first.labels, 0)
    rec.assert_labels(third.labels, 2)
    assert second.frame is not None and second.labels is None
    assert 'message 1 has the stamp of the one before it, so that its labels' in (
        second.error or ''
    )
    for index, name in enumerate(('0_000000007', '0_000000007_000001', '0_000000009')):
        rec.write_png(tmp_path / 'labels' / f'{name}.png', rec.labels(index))
    for index, entry in enumerate(open_source(bag, SourceOptions(labels=tmp_path / 'labels'))):
        rec.assert_labels(entry.labels, index)


def test_an_image_without_an_encoding_is_refused(tmp_path: Path) -> None:
    (entry,) = open_source(write_images(tmp_path / 'drive', [7], ''))
    assert "unknown image encoding ''" in (entry.error or '')
