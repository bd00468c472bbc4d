# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frames to calibrate with, and others to judge by."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from segformer_ros.engines import fake_spec
from segformer_ros.frame import Frame
from segformer_ros.quantization.accuracy_gate import (
    FEW,
    LEAST_SHARE,
    Gate,
    GateResult,
    Judge,
    QuantizationError,
    Sample,
    Samples,
    collect_samples,
    too_few,
    too_few_labels,
)
from segformer_ros.recordings import SourceOptions, open_source


def keys(samples: Samples) -> tuple[set[int], set[int]]:
    calibration, held_out = ({sample.frame.stamp.ns for sample in part} for part in samples)
    return calibration, held_out


def test_no_frame_is_in_both(pictures: Path) -> None:
    options = SourceOptions(labels=pictures / 'labels')
    samples = collect_samples([open_source(pictures / 'images', options)], 8, 4)
    calibration, held_out = keys(samples)
    assert (len(calibration), len(held_out)) == (8, 4)
    assert not calibration & held_out
    assert all(sample.labels is not None for sample in samples.held_out)


def test_few_frames_are_shared_out(pictures: Path) -> None:
    samples = collect_samples([open_source(pictures / 'images')], 64, 32)
    assert (len(samples.calibration), len(samples.held_out)) == (8, 4)
    calibration, held_out = keys(samples)
    assert min(calibration) < min(held_out) and max(calibration) > max(held_out)


def test_frames_to_calibrate_with_are_not_to_judge_by(pictures: Path) -> None:
    frames, street = open_source(pictures / 'images'), open_source('street:1:3')
    for both in (frames, street):
        with pytest.raises(QuantizationError, match='is both to calibrate with and to judge by'):
            collect_samples([frames, street], 2, 2, [both])
    calibration, judged = collect_samples([frames], 2, 2, [street])
    assert (len(calibration), len(judged)) == (2, 2)


@pytest.mark.parametrize('kind', ['missing', 'of another size', 'of no class'])
def test_frames_to_judge_by_without_labels_are_told_of(pictures: Path, kind: str) -> None:
    files = sorted((pictures / 'labels').iterdir())
    words = {
        'missing': 'no label image',
        'of another size': 'has 8x8 pixels, its frame 128x64',
        'of no class': 'none of the 19 train ids',
    }[kind]
    size = (8, 8) if kind == 'of another size' else (64, 128)

    def spoil(file: Path) -> None:
        file.unlink()
        if kind != 'missing':
            cv2.imwrite(str(file), np.full(size, 200, np.uint8))

    other = open_source('street::1')

    def held_out() -> list[Sample]:
        source = open_source(pictures / 'images', SourceOptions(labels=pictures / 'labels'))
        return collect_samples([other], 1, 12, [source]).held_out

    assert too_few_labels(held_out(), 19) == ''
    for file in files[:5]:
        spoil(file)
    warning = too_few_labels(held_out(), 19)
    assert warning.startswith('5 of 12 frames to judge by have no labels: ') and words in warning
    for file in files[5:11]:
        spoil(file)
    (pictures / 'images' / files[11].name).unlink()
    with pytest.raises(QuantizationError, match=f'none of the 11 frames .* {words}.*FP32'):
        too_few_labels(held_out(), 19)


def test_too_few_frames_are_said(samples: Samples) -> None:
    sample = samples.calibration[0]
    assert not too_few(Samples([sample] * FEW, [sample] * FEW))
    for calibration, held_out in ((FEW - 1, FEW), (FEW, FEW - 1)):
        words = too_few(Samples([sample] * calibration, [sample] * held_out))
        assert f'only {calibration} frames to calibrate with and {held_out} to judge by' in words
        assert '--frames' in words


def test_frames_are_spread_over_all_sources(pictures: Path) -> None:
    source = open_source(pictures / 'images')
    samples = collect_samples([source, source], 4, 2)
    assert len(samples.calibration) == 4 and len(samples.held_out) == 2


def test_other_frames_can_judge(pictures: Path) -> None:
    street = open_source('street:1:12')
    judged = open_source(pictures / 'images', SourceOptions(labels=pictures / 'labels'))
    samples = collect_samples([street], 64, 5, [judged])
    assert (len(samples.calibration), len(samples.held_out)) == (12, 5)
    heights = [{sample.frame.height for sample in part} for part in samples]
    assert heights[0] != heights[1] == {64}
    assert all(sample.labels is not None for sample in samples.held_out)


def test_a_source_without_images_is_refused(pictures: Path) -> None:
    for file in sorted((pictures / 'images').iterdir())[1:]:
        file.unlink()
    with pytest.raises(QuantizationError, match='source images has 1 images; give one with at'):
        collect_samples([open_source(pictures / 'images')], 8, 4)


def test_images_that_cannot_be_read_are_said(pictures: Path) -> None:
    for file in (pictures / 'images').iterdir():
        file.write_bytes(b'no image')
    with pytest.raises(
        QuantizationError,
        match='none of the 8 images .* can be read; the first: 00: ',
    ):
        collect_samples([open_source(pictures / 'images')], 8, 4)


SIDE = 200
ROAD, POLE, TERRAIN, SKY = 0, 5, 9, 10


def test_where_truth_is_known_it_decides() -> None:
    verdict = GateResult(8, 0.97, 0.99, {}, miou_fp32=0.70, miou=0.697)
    assert verdict.failures(Gate()) == []
    assert verdict.failures(Gate(loss=0.002)) == [
        'mean IoU falls by 0.30 points (0.2 may be lost)'
    ]
    unknown = GateResult(8, 0.97, 0.99, {})
    assert unknown.failures(Gate()) == ['agreement with FP32 is 0.9700 (at least 0.99 asked)']


def test_the_classes_that_cost_most_are_named() -> None:
    ious = {'road': (0.95, 0.94), 'pole': (0.5, 0.3), 'sky': (0.9, 0.9), 'car': (0.8, 0.7)}
    lost = GateResult(8, 0.9, 0.99, {}, miou_fp32=0.79, miou=0.71, class_iou=ious)
    (failure,) = lost.failures(Gate())
    assert failure.endswith(', most of it in pole (20.0), car (10.0), road (1.0)')
    agreement = {'road': 0.99, 'pole': 0.8, 'terrain': 0.2, 'sky': 1.0, 'car': 0.9}
    differing = GateResult(8, 0.9, 0.99, agreement, rare={'terrain': 3})
    (failure,) = differing.failures(Gate())
    assert failure.endswith(' asked), least for pole (0.800), car (0.900), road (0.990)')


@pytest.fixture
def labels() -> np.ndarray:
    """Sky over road, a pole, and less terrain than counts."""
    labels = np.full((SIDE, SIDE), ROAD, np.uint8)
    labels[: SIDE // 2] = SKY
    labels[50:150, 20:22] = POLE
    labels[-1, :3] = TERRAIN
    assert 3 < LEAST_SHARE * labels.size < 200
    return labels


def painted(labels: np.ndarray) -> Any:
    """An engine with one answer."""
    answer = [SimpleNamespace(labels=labels)]
    return SimpleNamespace(spec=fake_spec(), segment=lambda frames: answer)


def judge(labels: np.ndarray, other: np.ndarray, truth: np.ndarray | None = None) -> GateResult:
    sample = Sample(Frame.from_array(np.zeros((SIDE, SIDE, 3), np.uint8)), truth)
    return Judge(painted(labels), [sample]).judge(painted(other))


def test_a_class_of_a_few_pixels_does_not_count_in_the_agreement(labels: np.ndarray) -> None:
    other = labels.copy()
    other[-1, :2] = ROAD
    verdict = judge(labels, other)
    assert verdict.rare == {'terrain': 3}
    assert verdict.class_agreement['terrain'] == pytest.approx(1 / 3)
    assert verdict.agreement > 0.999


def test_a_rare_class_with_pixels_enough_counts(labels: np.ndarray) -> None:
    other = labels.copy()
    other[50:150, 21] = labels[50:150, 23]
    verdict = judge(labels, other)
    assert verdict.class_agreement['pole'] == pytest.approx(0.5)
    assert verdict.agreement == pytest.approx((0.5 + 2 * 0.995) / 3, abs=0.002)


def test_against_the_truth_all_of_its_classes_count(labels: np.ndarray) -> None:
    other = labels.copy()
    other[-1, :3] = ROAD
    verdict = judge(labels, other, truth=labels)
    assert verdict.miou_fp32 == 1 and verdict.loss == pytest.approx(0.25, abs=0.001)
    assert verdict.class_iou is not None and verdict.class_iou['terrain'] == (1, 0)
