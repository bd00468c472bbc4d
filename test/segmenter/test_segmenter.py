# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Segmenter: images of every kind in, labels and drivable area out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import painted
import pytest
import recordings as rec

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import load_class_map
from segformer_ros.drivable import BoundaryConfig, DrivableConfig
from segformer_ros.engines import EngineError, fake_spec
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame, FrameError, Stamp
from segformer_ros.recordings import SourceError, SourceOptions, open_source
from segformer_ros.segmenter.segmented_frame import SegmentedFrame
from segformer_ros.segmenter.segmenter import Segmenter, SegmenterError

CITYSCAPES = load_class_map('cityscapes')
ROAD, SKY, CAR = CITYSCAPES.ids('road', 'sky', 'car')
SIZE = (64, 128)
CALIBRATION = Calibration.pinhole(SIZE[1], SIZE[0], 90)
POSE = CameraPose(1.5)
SPEC = fake_spec(SIZE)


def street(car: bool = False) -> np.ndarray:
    """Labels of road below sky, and a car in the right half: (H, W) uint8."""
    labels = np.full(SIZE, ROAD, np.uint8)
    labels[: SIZE[0] // 2] = SKY
    if car:
        labels[SIZE[0] // 2 : 48, 64:] = CAR
    return labels


def paint(labels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 BGR in the classes' colours, which the fake engine gives back."""
    return CITYSCAPES.palette_bgr[labels]


@pytest.fixture
def segment() -> Iterator[Segmenter]:
    """A segmenter that knows the answer, and its camera."""
    with Segmenter(SPEC, engine='fake', calibration=CALIBRATION, pose=POSE) as opened:
        yield opened


def agrees(result: SegmentedFrame, labels: np.ndarray) -> bool:
    """Whether all but borders came back."""
    return bool((result.labels == labels).mean() > 0.95)


def test_an_array_gives_labels_confidence_overlay_and_area(segment: Segmenter) -> None:
    result = segment(paint(street(car=True)))
    assert agrees(result, street(car=True))
    assert result.labels.dtype == np.uint8
    assert result.confidence is not None
    assert result.confidence.shape == SIZE
    assert result.overlay.shape == (*SIZE, 3)
    assert result.where('car')[40, 100] and not result.where('car')[60, 10]
    area = result.area
    assert (area.valid, area.calibrated, area.reason) == (True, True, '')
    ahead = area.free_distance[len(area.free_distance) // 2 + 10]
    assert 2 < ahead < 10  # the car's
    assert result.grid is not None
    assert result.scan is not None


def test_without_a_camera_the_area_is_in_pixels_and_says_why() -> None:
    with Segmenter(SPEC, engine='fake', calibration=CALIBRATION) as segment:
        result = segment(paint(street()))
    assert not result.area.calibrated
    assert result.area.reason == 'no mount of the camera is known'
    assert len(result.area.column) == 128
    assert result.grid is None


def test_images_of_another_size_than_the_calibration_are_told(segment: Segmenter) -> None:
    result = segment(cv2.resize(paint(street()), (64, 32)))
    assert 'the calibration is for 128x64 images' in result.area.reason


@pytest.mark.parametrize('kind', ['rgb8', 'bgra8', 'view', 'path', 'str', 'url', 'frame'])
def test_kinds_of_images(kind: str, segment: Segmenter, tmp_path: Path) -> None:
    bgr = paint(street(car=True))
    file = tmp_path / 'street.png'
    cv2.imwrite(str(file), bgr)
    if kind == 'rgb8':
        result = segment(bgr[:, :, ::-1], encoding='rgb8')
    else:
        images: dict[str, Any] = {
            'bgra8': np.dstack([bgr, np.full(SIZE, 255, np.uint8)]),
            'view': np.dstack([bgr, bgr])[:, :, :3],
            'path': file,
            'str': str(file),
            'url': f'file://{file}',
            'frame': Frame.from_array(bgr, stamp=Stamp(3, 4), frame_id='front'),
        }
        result = segment(images[kind])
    assert agrees(result, street(car=True))
    if kind == 'frame':
        assert (result.area.stamp, result.frame.frame_id) == (Stamp(3, 4), 'front')


@pytest.mark.parametrize('kind', ['image', 'compressed'])
def test_messages_keep_their_stamp(kind: str, segment: Segmenter) -> None:
    labels = street(car=True)
    if kind == 'image':
        message: Any = rec.image(paint(labels), 'bgr8', 5_000_000_007)
    else:
        data = cv2.imencode('.png', paint(labels))[1]
        header = SimpleNamespace(stamp=SimpleNamespace(sec=5, nanosec=7), frame_id='front')
        message = SimpleNamespace(header=header, format='png', data=data)
    result = segment(message)
    assert agrees(result, labels)
    assert result.frame.stamp == Stamp(5, 7)


def test_a_list_gives_a_list_in_order(segment: Segmenter) -> None:
    results = segment([paint(street()), paint(street(car=True))])
    assert [bool(result.where('car').any()) for result in results] == [False, True]
    assert len(segment((paint(street()),))) == 1
    assert segment([]) == []


@pytest.mark.parametrize(
    ('image', 'words'),
    [
        (np.zeros((4, 64, 128, 3), np.uint8), r'shape \(4, 64, 128, 3\).*as a list'),
        (np.zeros((64, 128, 3), np.float32), 'type float32 is not an image'),
        (np.zeros((64, 128, 2), np.uint8), r'shape \(64, 128, 2\)'),
        (17, 'int is not an image; give an array'),
        ([paint(street()), None], 'image 1: NoneType is not an image'),
    ],
)
def test_what_is_no_image_is_refused(image: Any, words: str, segment: Segmenter) -> None:
    with pytest.raises(FrameError, match=words):
        segment(image)


def test_an_encoding_is_for_arrays_only(segment: Segmenter) -> None:
    with pytest.raises(FrameError, match="'rgb8' is for arrays, not for a Frame"):
        segment(Frame.from_array(paint(street())), encoding='rgb8')


def test_paths_that_are_no_image_are_refused(segment: Segmenter, tmp_path: Path) -> None:
    (tmp_path / 'cut.png').write_bytes(b'cut')
    with pytest.raises(FrameError, match='cut.png'):
        segment(tmp_path / 'cut.png')
    with pytest.raises(FrameError, match='no such recording'):
        segment(tmp_path / 'none.png')
    painted.write_folders(tmp_path, 3)
    with pytest.raises(FrameError, match=r'holds 3 frames; segment.stream\('):
        segment(tmp_path / 'images')


def test_a_frame_that_fails_raises_the_engines_error(
    segment: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FakeEngine, frames: list[Frame], wanted: Any) -> Any:
        raise EngineError('no memory')

    monkeypatch.setattr(FakeEngine, 'start', fail)
    with pytest.raises(EngineError, match='^no memory$'):
        segment(paint(street()))
    with pytest.raises(EngineError, match='^image 0: no memory$'):
        segment([paint(street())])
    monkeypatch.undo()
    assert agrees(segment(paint(street())), street())


def test_a_closed_segmenter_says_how_it_is_used() -> None:
    closed = Segmenter(SPEC, engine='fake')
    with pytest.raises(SegmenterError, match='use `with Segmenter'):
        closed(paint(street()))
    with pytest.raises(SegmenterError, match='use `with Segmenter'):
        list(closed.stream([paint(street())]))


def test_a_stream_gives_frames_with_keys_and_truth(segment: Segmenter, tmp_path: Path) -> None:
    images, labels = painted.write_folders(tmp_path, 3)
    source = open_source(images, SourceOptions(labels=labels))
    results = list(segment.stream(source))
    assert [result.key for result in results] == ['frame0000', 'frame0001', 'frame0002']
    for index, result in enumerate(results):
        assert result.truth is not None
        assert np.array_equal(result.truth, painted.truth(index))
    assert len({result.area.stamp for result in results}) == 3
    assert [result.key for result in segment.stream(images)] == [r.key for r in results]


def test_a_recordings_own_camera_counts_where_none_is_given(tmp_path: Path) -> None:
    bag = painted.write_bag(tmp_path / 'drive', 2, pose=CameraPose(1.2))
    with Segmenter(SPEC, engine='fake') as segment:
        assert all(result.area.calibrated for result in segment.stream(bag))
        camera = segment.camera_of(open_source(bag))
    assert camera.pose is not None and camera.pose.height == pytest.approx(1.2)
    with Segmenter(SPEC, engine='fake', pose=CameraPose(2.0)) as segment:
        assert segment.camera_of(open_source(bag)).pose == CameraPose(2.0)


def test_a_broken_frame_is_told_and_costs_no_other(
    segment: Segmenter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, _ = painted.write_folders(tmp_path, 3)
    (images / 'frame0001.png').write_bytes(b'cut')
    told: list[str] = []
    keys = [result.key for result in segment.stream(images, on_fault=told.append)]
    assert keys == ['frame0000', 'frame0002']
    assert len(told) == 1 and 'frame0001.png' in told[0]
    with caplog.at_level(logging.WARNING):
        assert len(list(segment.stream(images))) == 2
    assert 'frame0001.png' in caplog.text


def test_a_frame_that_fails_in_a_stream_is_told_by_its_key(
    segment: Segmenter, tmp_path: Path, first_frame_fails: None
) -> None:
    told: list[str] = []
    images, _ = painted.write_folders(tmp_path, 2)
    assert [r.key for r in segment.stream(images, on_fault=told.append)] == ['frame0001']
    assert told == ['frame0000: no memory']


def test_images_of_ones_own_are_a_stream_too(segment: Segmenter) -> None:
    told: list[str] = []
    images = iter([paint(street()), 'nothing.png', paint(street(car=True))])
    results = list(segment.stream(images, on_fault=told.append))
    assert [result.key for result in results] == ['000000', '000002']
    assert len(told) == 1 and 'nothing.png' in told[0]


def test_a_recording_that_is_not_there_is_refused(segment: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='no such recording'):
        next(segment.stream(tmp_path / 'none'))


def test_one_thing_at_a_time(segment: Segmenter) -> None:
    stream = segment.stream([paint(street())] * 3)
    next(stream)
    with pytest.raises(SegmenterError, match='finish or close its stream first'):
        segment(paint(street()))
    stream.close()
    assert agrees(segment(paint(street())), street())


def test_what_may_be_driven_on_is_chosen() -> None:
    labels = np.full(SIZE, CITYSCAPES.ids('sidewalk')[0], np.uint8)
    config = DrivableConfig(boundary=BoundaryConfig(drivable='road+sidewalk', columns=16))
    choices: list[tuple[str | DrivableConfig, int, bool]] = [
        ('', 128, False),
        ('road+sidewalk', 128, True),
        (config, 16, True),
    ]
    for drivable, columns, free in choices:
        with Segmenter(SPEC, engine='fake', drivable=drivable) as segment:
            area = segment(paint(labels)).area
        assert len(area.column) == columns
        assert bool((area.boundary_row < 0).all()) is free


def test_models_and_classes(tmp_path: Path) -> None:
    names = tmp_path / 'labels.txt'
    names.write_text('floor\nwall\n')
    for classes in (names, str(names), load_class_map(names)):
        assert Segmenter(engine='fake', classes=classes).class_map.names == ('floor', 'wall')
    with pytest.raises(SegmenterError, match="no upsampling 'finest'; use exact or fast"):
        Segmenter(SPEC, engine='fake', upsampling='finest')
    with pytest.raises(SegmenterError, match='give them to load_model'):
        Segmenter(SPEC, engine='fake', classes=names)
    with Segmenter(engine='openvino') as segment:
        assert segment.model.path.name == 'segformer_street.onnx'
        assert segment.facts()['engine'] == 'openvino'
        assert segment(paint(street())).labels.shape == SIZE
