"""Segmenting a whole source without ROS."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as rec

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import load_class_map
from segformer_ros.engines import create_engine, fake_spec
from segformer_ros.segment import Camera, SegmentRun
from segformer_ros.sources import Source, SourceOptions, open_source
from segformer_ros.summary import RunSummary

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


def segment(source: Source, out: Path, camera: Camera = UNKNOWN) -> RunSummary:
    """Run the fake engine over a source."""
    with (
        create_engine(fake_spec(SIZE), 'fake') as engine,
        SegmentRun(source, engine, out, camera) as segmenting,
    ):
        segmenting.run(lambda entry: None)
        return segmenting.summary()


def test_masks_are_written_and_scored(tmp_path: Path) -> None:
    source = painted_drive(tmp_path)
    summary = segment(source, tmp_path / 'out')
    assert (summary.frames_in, summary.frames_segmented, summary.frames_broken) == (2, 2, 1)
    # The fake network's cells are 4 pixels wide: borders are upsampled between them.
    assert summary.miou is not None
    assert summary.miou > 0.95
    assert set(summary.iou) == {'road', 'sky', 'car'}
    mask = cv2.imread(str(tmp_path / 'out/masks/1.png'), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert (mask[40, 100], mask[60, 10], mask[5, 5]) == (CAR, ROAD, SKY)
    assert len(open_source(tmp_path / 'out/overlay.mp4')) == 2
    assert not (tmp_path / 'out/drivable.jsonl').exists()


def test_a_calibrated_camera_gives_metres(tmp_path: Path) -> None:
    camera = Camera(Calibration.pinhole(SIZE[1], SIZE[0], 90), CameraPose(1.5))
    segment(painted_drive(tmp_path), tmp_path / 'out', camera)
    lines = (tmp_path / 'out/drivable.jsonl').read_text().splitlines()
    free, blocked = (json.loads(line) for line in lines)
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
