# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Segmenting a whole source without ROS."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import recordings as rec
from rosbags.highlevel import AnyReader

from segformer_ros.camera import Calibration, Camera, CameraPose
from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.engines import fake_spec
from segformer_ros.metrics.metric import MetricError
from segformer_ros.recordings import Source, SourceOptions, open_source
from segformer_ros.segmenter.run import RunScore, RunSummary, Score, SegmentRun
from segformer_ros.segmenter.segmenter import Segmenter
from tools.demo.moments import Recording

NAN = float('nan')
SCORED = Score(frames=9, miou=0.5, iou={'road': 0.9})


def summary(**changes: object) -> RunSummary:
    """A run of ten frames of which nine have a mask."""
    values = {
        'source': 'drive',
        'frames_in': 10,
        'frames_segmented': 9,
        'frames_broken': 2,
        'latency_ms': {'p50': 12.5, 'p99': 20.0},
        'fps': 31.26,
        'model': 'b0.onnx',
        'engine': {'engine': 'openvino', 'device': 'CPU'},
    }
    return RunSummary(**{**values, **changes})  # type: ignore[arg-type]


def test_the_file_has_the_promised_fields(tmp_path: Path) -> None:
    summary(score=SCORED).write(tmp_path / 'summary.json')
    found = json.loads((tmp_path / 'summary.json').read_text())
    assert (found['frames_in'], found['frames_segmented'], found['frames_dropped']) == (10, 9, 1)
    assert found['latency_ms'] == {'p50': 12.5, 'p99': 20.0}
    assert (found['fps'], found['engine'], found['model']) == (31.26, 'openvino', 'b0.onnx')
    assert (found['miou'], found['iou']) == (0.5, {'road': 0.9})
    assert found['frames_scored'] == 9


def test_without_labels_there_is_no_score() -> None:
    assert 'miou' not in summary().as_json()
    assert 'IoU' not in summary().as_table()


def test_what_is_not_known_is_null() -> None:
    found = summary(latency_ms={'p50': NAN}, fps=NAN).as_json()
    assert found['latency_ms'] == {'p50': None}
    assert found['fps'] is None


def test_a_run_without_a_mask_has_no_latency() -> None:
    text = summary(frames_segmented=0, latency_ms={'p50': NAN}, fps=0.0).as_table()
    assert '10 in, 0 segmented, 10 dropped' in text
    assert 'latency' not in text and 'nan' not in text


def test_the_table_says_how_it_went() -> None:
    text = summary(score=SCORED).as_table()
    assert '10 in, 9 segmented, 1 dropped, 2 broken' in text
    assert 'p50 12.5 ms, p99 20.0 ms' in text
    assert 'openvino, CPU' in text
    assert ['road', '0.900'] in [line.split() for line in text.splitlines()]
    assert ['mean', '0.500'] in [line.split() for line in text.splitlines()]


def test_scores_are_of_the_classes_that_the_labels_have() -> None:
    score = RunScore(load_class_map('cityscapes'))
    assert score.result().miou is None
    truth = np.array([[0, 0, 13, 255]], np.uint8)
    score.update(truth, np.array([[0, 0, 0, 5]], np.uint8))
    assert score.result().iou == pytest.approx({'road': 2 / 3, 'car': 0.0})
    assert score.result().miou == pytest.approx(1 / 3)


def test_classes_may_be_scored_as_one() -> None:
    score = RunScore(load_class_map('cityscapes'), [('rider', 'bicycle')])
    score.update(np.full((2, 2), 12, np.uint8), np.full((2, 2), 18, np.uint8))
    assert score.result().iou == {'rider+bicycle': 1.0}


def test_labels_of_another_size_are_refused() -> None:
    score = RunScore(load_class_map('cityscapes'))
    with pytest.raises(MetricError, match='labels of 4x4 pixels'):
        score.update(np.zeros((4, 4), np.uint8), np.zeros((2, 2), np.uint8))


def test_the_iou_of_a_short_run_comes_with_a_caution() -> None:
    words = 'the IoU of rare classes says little'
    assert summary(score=SCORED).as_table().splitlines()[-1] == f'9 frames scored: {words}'
    long = summary(score=SCORED._replace(frames=5000)).as_table()
    assert long.splitlines()[-1] == '5000 frames scored'
    assert words not in summary().as_table()


def test_labels_that_the_class_map_has_not_are_noted() -> None:
    score = RunScore(load_class_map('cityscapes'))
    assert score.result().note == ''
    for _ in range(2):
        score.update(np.array([[0, 42, 42, 255]], np.uint8), np.zeros((1, 4), np.uint8))
    result = score.result()
    assert result.frames == 2
    assert result.note.endswith('not scored: 42 (4 pixels)')
    found = summary(score=result)
    assert found.as_json()['note'] == result.note
    assert found.as_table().endswith(result.note)


@pytest.mark.parametrize(
    ('changes', 'labelled', 'words'),
    [
        ({}, False, ''),
        ({'score': SCORED}, True, ''),
        ({}, True, 'none of the labels could be scored'),
        ({'frames_segmented': 0}, False, 'no frame was segmented'),
    ],
)
def test_a_run_that_gave_less_than_was_asked_for(
    changes: dict[str, object], labelled: bool, words: str
) -> None:
    fault = summary(**changes).fault(labelled)
    assert words in fault
    assert bool(fault) == bool(words)


def test_truth_of_other_classes_is_not_scored_and_no_fault() -> None:
    score = RunScore(load_class_map('ade20k'), truth='cityscapes')
    score.update(np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8))
    result = score.result()
    assert result.other_classes and result.miou is None
    assert result.note.startswith("nothing is scored: the truth has the classes of 'cityscapes'")
    told = summary(score=result)
    assert result.note in told.as_table()
    assert told.fault(labelled=True) == ''
    assert summary(score=Score(note=result.note)).fault(labelled=True)


def test_truth_in_another_order_is_brought_into_the_model_s(tmp_path: Path) -> None:
    names = load_class_map('cityscapes').names
    backwards = tmp_path / 'backwards.txt'
    backwards.write_text('\n'.join(reversed(names)))
    score = RunScore(load_class_map(backwards), truth='cityscapes')
    score.update(np.zeros((4, 6), np.uint8), np.full((4, 6), 18, np.uint8))
    assert score.result().iou == {'road': 1.0}


CITYSCAPES = load_class_map('cityscapes')
SIZE = (64, 128)
UNKNOWN = Camera()
ROAD, SKY, CAR = CITYSCAPES.ids('road', 'sky', 'car')


def painted_drive(folder: Path) -> Source:
    """Three frames in the classes' colours, which the fake engine gives back; the last is broken.

    Road below sky, and a car in the right half of the second frame.
    """
    for index in range(2):
        labels = np.full(SIZE, ROAD, np.uint8)
        labels[: SIZE[0] // 2] = SKY
        if index == 1:
            labels[SIZE[0] // 2 : 48, 64:] = CAR
        rec.write_png(folder / 'images' / f'{index}.png', CITYSCAPES.palette_bgr[labels])
        rec.write_png(folder / 'labels' / f'{index}.png', labels)
    (folder / 'images' / '2.png').write_bytes(b'broken')
    return open_source(folder / 'images', SourceOptions(labels=folder / 'labels'))


def segment(
    source: Source, out: Path, camera: Camera = UNKNOWN, on_frame: Callable[[str], object] = len
) -> RunSummary:
    """Run the fake engine over a source."""
    with (
        Segmenter(
            fake_spec(SIZE),
            engine='fake',
            calibration=camera.calibration,
            pose=camera.pose,
            vehicle_frame=camera.vehicle_frame,
        ) as segmenter,
        SegmentRun(source, segmenter, out) as segmenting,
    ):
        segmenting.run(on_frame)
        return segmenting.summary()


def test_masks_are_written_and_scored(tmp_path: Path) -> None:
    source = painted_drive(tmp_path)
    summary = segment(source, tmp_path / 'out')
    assert (summary.frames_in, summary.frames_segmented, summary.frames_broken) == (2, 2, 1)
    # The fake network's cells are 4 pixels wide: borders are upsampled between them.
    assert summary.score.miou is not None
    assert summary.score.miou > 0.95
    assert set(summary.score.iou) == {'road', 'sky', 'car'}
    mask = cv2.imread(str(tmp_path / 'out/masks/1.png'), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert (mask[40, 100], mask[60, 10], mask[5, 5]) == (CAR, ROAD, SKY)
    assert len(open_source(tmp_path / 'out/overlay.mp4')) == 2


def test_a_frame_that_the_engine_cannot_segment_costs_no_other(
    tmp_path: Path, first_frame_fails: None
) -> None:
    told: list[str] = []
    summary = segment(painted_drive(tmp_path), tmp_path / 'out', on_frame=told.append)
    assert (summary.frames_in, summary.frames_segmented, summary.frames_dropped) == (2, 1, 1)
    assert told[:2] == ['0: no memory', '']
    assert [path.name for path in (tmp_path / 'out/masks').iterdir()] == ['1.png']


def lines_of(out: Path) -> list[dict[str, Any]]:
    """What drivable.jsonl holds."""
    return [json.loads(line) for line in (out / 'drivable.jsonl').read_text().splitlines()]


def messages_of(path: Path) -> dict[str, list[Any]]:
    """Messages of a bag by topic, read by nothing but the definitions that it carries."""
    found: dict[str, list[Any]] = {}
    with AnyReader([path]) as reader:
        for connection, time, data in reader.messages():
            message: Any = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append(message)
            if connection.topic != '/tf_static':
                stamp = message.header.stamp
                assert stamp.sec * 10**9 + stamp.nanosec == time
    return found


def test_without_metres_there_are_pixels(tmp_path: Path) -> None:
    segment(painted_drive(tmp_path), tmp_path / 'out')
    free, blocked = lines_of(tmp_path / 'out')
    assert (free['key'], free['stamp'], free['calibrated']) == ('0', 1.0, False)
    assert free['reason'] == 'no calibration and no mount of the camera is known'
    assert free['road_fraction'] == pytest.approx(0.5, abs=0.05)
    assert free['bearing'] is free['free_distance'] is free['distance_sigma'] is None
    assert free['corridor'] == dict.fromkeys(('width', 'distance', 'sigma', 'blocked_by'))
    assert len(blocked['column']) == len(blocked['boundary_row']) == len(blocked['blocked_by'])
    right = [
        row
        for row, name in zip(blocked['boundary_row'], blocked['blocked_by'], strict=True)
        if name == 'car'
    ]
    assert right
    assert all(abs(row - 47) <= 2 for row in right)


CAMERA = Camera(Calibration.pinhole(SIZE[1], SIZE[0], 90), CameraPose(1.5, x=0.5))


def test_the_bag_has_what_the_demo_records(tmp_path: Path) -> None:
    segment(painted_drive(tmp_path), tmp_path / 'out', CAMERA)
    found = messages_of(tmp_path / 'out/drive.mcap')
    assert {topic: len(messages) for topic, messages in found.items()} == {
        '/segmentation/mask': 2,
        '/segmentation/overlay/compressed': 2,
        '/camera_info': 2,
        '/labels': 2,
        '/drivable_area': 2,
        '/drivable_area/grid': 2,
        '/drivable_area/scan': 2,
        '/tf_static': 1,
    }
    mask = found['/segmentation/mask'][1]
    png = cv2.imread(str(tmp_path / 'out/masks/1.png'), cv2.IMREAD_UNCHANGED)
    assert png is not None
    assert np.array_equal(mask.data.reshape(SIZE), png)
    assert (mask.encoding, mask.header.frame_id) == ('mono8', 'camera')
    overlay = cv2.imdecode(found['/segmentation/overlay/compressed'][0].data, cv2.IMREAD_COLOR)
    assert overlay is not None
    assert overlay.shape == (*SIZE, 3)
    assert found['/camera_info'][0].k[0] == pytest.approx(64)
    area = found['/drivable_area'][1]
    assert (area.valid, area.calibrated, area.vehicle_frame) == (True, True, 'base_link')
    distance = lines_of(tmp_path / 'out')[1]['corridor']['distance']
    assert area.corridor_distance == pytest.approx(distance, abs=1e-4)
    assert len(area.free_distance) == len(area.confidence) == len(area.column)
    assert np.isfinite(area.confidence).all()
    grid, scan = found['/drivable_area/grid'][1], found['/drivable_area/scan'][1]
    assert grid.header.frame_id == scan.header.frame_id == 'base_link'
    assert {-1, 0, 100} == set(grid.data.tolist())
    assert np.nanmin(scan.ranges) == pytest.approx(0.5 + 1.5 * 64 / 16, rel=0.1)
    (placed,) = found['/tf_static'][0].transforms
    assert (placed.header.frame_id, placed.child_frame_id) == ('base_link', 'camera')
    assert placed.transform.translation.x == 0.5


def test_an_uncalibrated_bag_has_pixels(tmp_path: Path) -> None:
    segment(painted_drive(tmp_path), tmp_path / 'out')
    found = messages_of(tmp_path / 'out/drive.mcap')
    assert set(found) == {
        '/segmentation/mask',
        '/segmentation/overlay/compressed',
        '/labels',
        '/drivable_area',
    }
    area = found['/drivable_area'][1]
    assert (area.valid, area.calibrated) == (True, False)
    assert 'no mount' in area.reason
    assert len(area.column) > len(area.bearing) == 0
    assert np.isnan(area.corridor_distance)


def test_the_demo_reads_the_bag(tmp_path: Path) -> None:
    segment(painted_drive(tmp_path), tmp_path / 'out', CAMERA)
    with Recording(tmp_path / 'out/drive.mcap') as recording:
        assert recording.masks == 2
        assert recording.report() is None
        # A view needs the image, which stays in the recording that was segmented.
        assert list(recording.views()) == []


def test_a_calibration_of_another_size_gives_no_metres(tmp_path: Path) -> None:
    camera = Camera(Calibration.pinhole(640, 480, 90), CameraPose(1.5))
    segment(painted_drive(tmp_path), tmp_path / 'out', camera)
    assert 'for 640x480 images, but the image is 128x64' in lines_of(tmp_path / 'out')[0]['reason']
    assert '/camera_info' not in messages_of(tmp_path / 'out/drive.mcap')


def test_a_run_without_a_frame_leaves_no_bag(tmp_path: Path) -> None:
    """Also none of an earlier run."""
    rec.write_folder(tmp_path / 'clip', 1)
    (tmp_path / 'clip/frame0.png').write_bytes(b'broken')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/drive.mcap').write_bytes(b'old')
    segment(open_source(tmp_path / 'clip'), tmp_path / 'out')
    assert not list((tmp_path / 'out').glob('*drive.mcap*'))


def test_a_calibrated_camera_gives_metres(tmp_path: Path) -> None:
    camera = Camera(Calibration.pinhole(SIZE[1], SIZE[0], 90), CameraPose(1.5))
    segment(painted_drive(tmp_path), tmp_path / 'out', camera)
    free, blocked = lines_of(tmp_path / 'out')
    assert (free['key'], free['stamp'], blocked['key']) == ('0', 1.0, '1')
    # The car stands on row 47.5, 16 pixels below the middle of a 64 pixel focal length.
    expected = 1.5 * 64 / 16
    right = [
        d
        for d, name in zip(blocked['free_distance'], blocked['blocked_by'], strict=True)
        if name == 'car'
    ]
    assert min(right) == pytest.approx(expected, rel=0.1)
    assert blocked['corridor']['blocked_by'] == 'car'
    assert blocked['corridor']['distance'] == pytest.approx(expected, rel=0.1)
    assert free['corridor']['distance'] == 'inf' or free['corridor']['distance'] > 20


def test_masks_of_an_earlier_run_are_gone(tmp_path: Path) -> None:
    rec.write_png(tmp_path / 'out/masks/old.png', np.zeros(SIZE, np.uint8))
    segment(painted_drive(tmp_path), tmp_path / 'out')
    assert sorted(path.name for path in (tmp_path / 'out/masks').iterdir()) == ['0.png', '1.png']


def test_frames_of_the_same_stamp_keep_their_masks(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera = bag.topic('/image', rec.IMAGE)
        for index in range(3):
            bag.write(camera, rec.image(rec.picture(index), 'bgr8', 7), 100 + index)
    segment(open_source(tmp_path / 'drive'), tmp_path / 'out')
    assert sorted(path.name for path in (tmp_path / 'out/masks').iterdir()) == [
        '0_000000007.png', '0_000000007_000001.png', '0_000000007_000002.png'
    ]  # fmt: skip


def test_where_no_bag_can_be_written_the_rest_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, 'mcap.writer', None)
    out = tmp_path / 'out'
    summary = segment(painted_drive(tmp_path), out)
    assert summary.frames_segmented == len(lines_of(out)) > 0
    assert not (out / 'drive.mcap').exists()
    assert 'drive.mcap cannot be written without mcap' in caplog.text


def test_frames_of_stamps_that_come_again_have_one_name_in_all_results(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera = bag.topic('/image', rec.IMAGE)
        for index, stamp in enumerate((7, 8, 7, 8)):
            bag.write(camera, rec.image(rec.picture(index), 'bgr8', stamp), 100 + index)
    out = tmp_path / 'out'
    segment(open_source(tmp_path / 'drive'), out)
    masks = {path.stem for path in (out / 'masks').iterdir()}
    assert len(masks) == 4
    assert {line['key'] for line in lines_of(out)} == masks
    assert {path.stem for path in (out / 'frames').iterdir()} == masks


@pytest.mark.parametrize('drivable', [{}, {'floor': ('floor',)}])
def test_a_class_map_without_roads_is_segmented_too(
    tmp_path: Path, drivable: dict[str, tuple[str, ...]]
) -> None:
    classes = [
        replace(entry, name='floor' if entry.name == 'road' else f'thing {entry.train_id}')
        for entry in CITYSCAPES.classes
    ]
    indoors = ClassMap('indoors', tuple(classes), drivable)
    out = tmp_path / 'out'
    with (
        Segmenter(replace(fake_spec(SIZE), class_map=indoors), engine='fake') as segmenter,
        SegmentRun(painted_drive(tmp_path), segmenter, out) as segmenting,
    ):
        segmenting.run(len)
        assert segmenting.summary().frames_segmented == 2
    assert len(list((out / 'masks').iterdir())) == 2
    assert len(lines_of(out)) == 2
