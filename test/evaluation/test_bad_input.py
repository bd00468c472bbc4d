# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Recordings that are broken or odd: each a clear line, and the rest goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import painted
import pytest
import recordings

from segformer_ros.engines import EngineError
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.evaluation.job import EvaluationJob, ModelChoice
from segformer_ros.evaluation.runner import EvaluationRun
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.recordings import SourceError, SourceOptions

COUNT = 16
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


def notes_of(job: EvaluationJob, out: Path) -> dict[str, Any]:
    """metrics.json of a run."""
    return dict(EvaluationRun(job, out).execute().metrics)


def write_noise(path: Path, compression: str = 'none') -> Path:
    """A bag of COUNT labelled frames of so much noise that the writer begins several chunks."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    values = np.zeros((300, 400), np.uint8)
    with recordings.open_bag(path, compression=compression) as writer:
        recorder = recordings.BagRecorder(writer)
        camera = recorder.topic('/image', recordings.IMAGE)
        labels = recorder.topic('/labels', recordings.IMAGE)
        for index in range(COUNT):
            time = recordings.stamp_ns(index)
            recorder.write(camera, recordings.image(noise, 'bgr8', time), time)
            recorder.write(labels, recordings.image(values, 'mono8', time), time)
    return path


def test_a_bag_that_was_cut_off(tmp_path: Path) -> None:
    whole = write_noise(tmp_path / 'drive') / 'drive.mcap'
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    metrics = notes_of(painted.bag_job(cut), tmp_path / 'out')
    assert 4 < metrics['frames']['scored'] < COUNT
    assert 'was cut off' in metrics['inputs'][0]['notes'][0]


def test_a_damaged_chunk(tmp_path: Path) -> None:
    bag = write_noise(tmp_path / 'drive', 'storage')
    file = bag / 'drive.mcap'
    data = bytearray(file.read_bytes())
    start = data.index(ZSTD_MAGIC, len(data) // 2)
    data[start : start + len(ZSTD_MAGIC)] = bytes(len(ZSTD_MAGIC))
    file.write_bytes(data)
    metrics = notes_of(painted.bag_job(bag), tmp_path / 'out')
    frames = metrics['frames']
    assert frames['total'] == COUNT
    assert 0 < frames['noted'] < COUNT
    assert frames['scored'] == COUNT - frames['noted']
    assert 'damaged chunk' in metrics['notes'][0]['note']


def test_another_definition_of_the_image_message(tmp_path: Path) -> None:
    bag = tmp_path / 'drive'
    with recordings.open_bag(bag) as writer:
        text = 'std_msgs/Header header\nuint32 rows\nuint8[] data\n'
        camera = writer.add_connection('/image', recordings.IMAGE, msgdef=text, rihs01='RIHS01_0')
        writer.write(camera, 1, b'\0' * 32)
    job = EvaluationJob((str(bag),), model=painted.FAKE, reference=painted.FAKE)
    with pytest.raises(SourceError, match='with the fields header, rows, data'):
        EvaluationRun(job, tmp_path / 'out')


def test_labels_of_another_size(tmp_path: Path) -> None:
    images, labels = painted.write_folders(tmp_path, 3)
    recordings.write_png(labels / 'frame0001.png', np.zeros((8, 8), np.uint8))
    job = EvaluationJob((str(images),), SourceOptions(labels=labels), painted.FAKE)
    metrics = notes_of(job, tmp_path / 'out')
    assert metrics['frames'] == {'total': 3, 'scored': 2, 'noted': 1}
    note = metrics['notes'][0]
    assert (note['input'], note['frame']) == ('images', 'frame0001')
    assert '8x8 pixels' in note['note']
    assert '128x64' in note['note']


@pytest.mark.parametrize('reference', [None, painted.FAKE])
def test_a_frame_that_cannot_be_segmented(
    reference: ModelChoice | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = painted.write_folders(tmp_path, 5)
    options = SourceOptions() if reference else SourceOptions(labels=labels)
    job = EvaluationJob((str(images),), options, painted.FAKE, reference)
    calls: list[int] = []
    infer = FakeEngine._end

    def failing(engine: FakeEngine, slot: int) -> tuple[np.ndarray, float]:
        calls.append(len(calls))
        if len(calls) == 3:
            raise EngineError('no memory')
        return infer(engine, slot)

    monkeypatch.setattr(FakeEngine, '_end', failing)
    metrics = notes_of(job, tmp_path / 'out')
    assert metrics['frames'] == {'total': 5, 'scored': 4, 'noted': 1}
    assert metrics['notes'][0]['note'] == 'no memory'


def test_a_missing_label_and_a_broken_image(tmp_path: Path) -> None:
    images, labels = painted.write_folders(tmp_path, 4)
    (labels / 'frame0001.png').unlink()
    (images / 'frame0002.png').write_bytes(b'\x89PNG\r\n\x1a\n and no more')
    job = EvaluationJob((str(images),), SourceOptions(labels=labels), painted.FAKE)
    metrics = notes_of(job, tmp_path / 'out')
    assert metrics['frames'] == {'total': 4, 'scored': 2, 'noted': 2}
    assert 'no label image frame0001.png' in metrics['notes'][0]['note']
    assert 'truncated PNG image' in metrics['notes'][1]['note']
    # Frames 0 and 3 do not follow each other.
    assert metrics['flicker'] is None


def test_label_values_that_the_class_map_does_not_have(tmp_path: Path) -> None:
    images, labels = painted.write_folders(tmp_path, 2)
    values = painted.truth(1)
    values[40:50, :10] = 77
    recordings.write_png(labels / 'frame0001.png', values)
    job = EvaluationJob((str(images),), SourceOptions(labels=labels), painted.FAKE)
    metrics = notes_of(job, tmp_path / 'out')
    assert metrics['frames']['scored'] == 2
    assert metrics['notes'][0]['note'] == (
        'label values that the class map does not have, not scored: 77 (100 pixels)'
    )


def test_two_cameras(tmp_path: Path) -> None:
    bag = tmp_path / 'drive'
    with recordings.open_bag(bag) as writer:
        recorder = recordings.BagRecorder(writer)
        for name in ('/left/image', '/right/image'):
            topic = recorder.topic(name, recordings.IMAGE)
            image = recordings.image(painted.paint(painted.mask(0)), 'bgr8', recordings.START_NS)
            recorder.write(topic, image, recordings.START_NS)
    with pytest.raises(SourceError, match='/left/image.*/right/image'):
        EvaluationRun(painted.bag_job(bag), tmp_path / 'out')


def test_stamps_out_of_order(tmp_path: Path) -> None:
    ordered = painted.write_bag(tmp_path / 'ordered', 6)
    swapped = tmp_path / 'swapped'
    order = [0, 2, 1, 3, 5, 4]
    with recordings.open_bag(swapped) as writer:
        recorder = recordings.BagRecorder(writer)
        camera = recorder.topic('/image', recordings.IMAGE)
        labels = recorder.topic('/labels', recordings.IMAGE)
        for place, index in enumerate(order):
            stamp, time = recordings.stamp_ns(index), recordings.stamp_ns(place)
            pixels = painted.paint(painted.mask(index))
            recorder.write(camera, recordings.image(pixels, 'bgr8', stamp), time)
            recorder.write(labels, recordings.image(painted.truth(index), 'mono8', stamp), time)
    first = notes_of(painted.bag_job(ordered), tmp_path / 'a')
    second = notes_of(painted.bag_job(swapped), tmp_path / 'b')
    assert second['frames']['scored'] == 6
    assert second['confusion'] == first['confusion']


def test_an_empty_bag(tmp_path: Path) -> None:
    bag = tmp_path / 'drive'
    with recordings.open_bag(bag) as writer:
        recorder = recordings.BagRecorder(writer)
        recorder.topic('/image', recordings.IMAGE)
        recorder.topic('/labels', recordings.IMAGE)
    with pytest.raises((SourceError, EvaluationError), match='drive.*no '):
        EvaluationRun(painted.bag_job(bag), tmp_path / 'out')


def test_bad_recordings_among_good_ones(tmp_path: Path) -> None:
    """They are noted and left out; but not one that is not there, whose name is mistyped."""
    good = painted.write_bag(tmp_path / 'good', 3)
    trash, empty = tmp_path / 'trash.mcap', tmp_path / 'empty'
    trash.write_bytes(b'no bag')
    empty.mkdir()
    job = painted.bag_job(good)
    several = dataclasses.replace(job, inputs=(str(trash), str(good), str(empty)))
    run = EvaluationRun(several, tmp_path / 'out')
    metrics = run.execute().metrics
    assert metrics['miou'] == EvaluationRun(job, tmp_path / 'alone').execute().metrics['miou']
    assert [item['frames'] for item in metrics['inputs']] == [0, 3, 0]
    noted = [' '.join(item['notes']) for item in metrics['inputs']]
    assert noted[0].startswith('left out: cannot read bag')
    assert not noted[1]
    assert noted[2].startswith('left out: ')
    assert [note.partition(':')[0] for note in run.notes] == ['trash', 'empty']
    missing = dataclasses.replace(job, inputs=(str(good), str(tmp_path / 'nowhere')))
    with pytest.raises((SourceError, EvaluationError), match='nowhere'):
        EvaluationRun(missing, tmp_path / 'out')
    bad = dataclasses.replace(job, inputs=(str(trash), str(empty)))
    with pytest.raises(EvaluationError, match='no input can be scored; the first is left out: '):
        EvaluationRun(bad, tmp_path / 'out')


def test_nothing_that_can_be_scored(tmp_path: Path) -> None:
    images, labels = painted.write_folders(tmp_path, 2)
    for file in labels.iterdir():
        file.rename(file.with_name(f'other_{file.name}'))
    job = EvaluationJob((str(images),), SourceOptions(labels=labels), painted.FAKE)
    with pytest.raises(EvaluationError, match=r'images: no label file in .* is named as a frame'):
        EvaluationRun(job, tmp_path / 'out')


def test_labels_of_no_class(tmp_path: Path) -> None:
    images, labels = painted.write_folders(tmp_path, 2)
    for file in labels.iterdir():
        label_map = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert label_map is not None
        cv2.imwrite(str(file), np.full_like(label_map, 200))
    job = EvaluationJob((str(images),), SourceOptions(labels=labels), painted.FAKE)
    words = r'no pixel of 2 frames is labelled with a class .* not scored: 200 \(\d+ pixels\)'
    with pytest.raises(EvaluationError, match=words):
        EvaluationRun(job, tmp_path / 'out').execute()


def test_a_class_that_is_not_there(tmp_path: Path) -> None:
    job = painted.folder_job(tmp_path, 1)
    with pytest.raises(ValueError, match="no class 'tram'"):
        EvaluationRun(dataclasses.replace(job, merged=(('tram', 'bus'),)), tmp_path / 'out')
    with pytest.raises(ValueError, match="no class 'water'"):
        EvaluationRun(dataclasses.replace(job, drivable='water'), tmp_path / 'out').execute()
