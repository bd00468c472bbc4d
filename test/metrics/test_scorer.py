# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The scorer: any split of the frames gives the same scores."""

import dataclasses

import numpy as np
import pytest

from segformer_ros.camera import Calibration, Camera, CameraPose
from segformer_ros.classes import load_class_map
from segformer_ros.frame import Segmentation, StageTimes
from segformer_ros.metrics.metric import MetricError, ScoredClasses
from segformer_ros.metrics.scorer import Scorer

CITYSCAPES = load_class_map('cityscapes')
SIZE = (48, 64)
CAMERA = Camera(Calibration.pinhole(64, 48, 70.0), CameraPose(1.4, pitch=0.1))


def make_scorer() -> Scorer:
    scorer = Scorer(ScoredClasses(CITYSCAPES), 'road')
    scorer.begin(CAMERA)
    return scorer


def frame(seed: int) -> tuple[np.ndarray, Segmentation, np.ndarray]:
    """Labels, result and instances: a road with boxes, a fifth of it predicted at random."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SIZE, np.uint8)
    labels[:20] = 10
    instances = np.zeros(SIZE, np.uint16)
    for number in range(1, 4):
        top, left = int(rng.integers(5, 35)), int(rng.integers(0, 50))
        labels[top : top + 9, left : left + 8] = 13
        instances[top : top + 9, left : left + 8] = number
    labels[0] = 255
    noise = rng.random(SIZE) < 0.2
    predicted = np.where(noise, rng.integers(0, 19, SIZE), np.minimum(labels, 18)).astype(np.uint8)
    confidence = rng.integers(0, 256, SIZE).astype(np.uint8)
    return labels, Segmentation(predicted, StageTimes(0, 0, 0), confidence), instances


def test_parts_merge_to_the_whole() -> None:
    whole = make_scorer()
    for seed in range(6):
        whole.update(*frame(seed))
    merged = make_scorer()
    for parts in ((3, 4, 5), (0, 1, 2)):
        part = make_scorer()
        if parts[0]:
            part.follow(*frame(parts[0] - 1)[:2])
        for seed in parts:
            part.update(*frame(seed))
        merged.merge(part.counts())
    for name, counts in whole.counts().items():
        np.testing.assert_array_equal(merged.counts()[name], counts, err_msg=name)
    assert str(merged.compute()) == str(whole.compute())


def test_all_scores_are_there() -> None:
    scorer = make_scorer()
    for seed in range(2):
        scorer.update(*frame(seed))
    assert scorer.compute().map is None  # nobody made one
    scorer.map.counts += 1
    scores = scorer.compute()
    for field in dataclasses.fields(scores):
        assert getattr(scores, field.name) is not None, field.name
    assert scores.drivable is not None
    assert scores.drivable.metres is not None
    assert scores.drivable.best is scores.drivable.metres
    road = scores.confusion.iou[0]
    assert scores.drivable.iou == pytest.approx(road)


def test_what_is_not_there_is_not_scored() -> None:
    scorer = Scorer(ScoredClasses(CITYSCAPES))
    labels, result, _ = frame(1)
    scorer.update(labels, dataclasses.replace(result, confidence=None))
    scores = scorer.compute()
    assert scores.instances is None
    assert scores.calibration is None
    assert scores.flicker is None
    assert scores.drivable is None


def test_the_perfect_mask() -> None:
    scorer = make_scorer()
    for seed in range(3):
        labels, result, instances = frame(seed)
        scorer.update(labels, dataclasses.replace(result, labels=labels), instances)
    scores = scorer.compute()
    assert scores.confusion.miou == 1.0
    assert scores.boundary.mean == 1.0
    assert scores.flicker is not None
    assert scores.instances is not None
    assert scores.instances.mean == 1.0
    assert scores.drivable is not None
    assert scores.drivable.best.false_free == 0.0
    assert scores.drivable.best.false_blocked == 0.0


def test_a_frame_that_does_not_fit_leaves_no_trace() -> None:
    scorer = make_scorer()
    labels, result, _ = frame(1)
    with pytest.raises(MetricError, match='labels of 64x40 pixels do not fit the mask of 64x48'):
        scorer.update(labels[:40], result)
    assert not any(counts.any() for counts in scorer.counts().values())


def test_unknown_truth_values_are_reported_and_not_scored() -> None:
    scorer = make_scorer()
    labels, result, _ = frame(1)
    labels[40:42] = 77
    score = scorer.update(labels, result)
    np.testing.assert_array_equal(score.unknown, [[77, 128]])
    assert score.matrix.sum() == (labels < 19).sum()
