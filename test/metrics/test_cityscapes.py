# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Equality with cityscapesscripts, the evaluation of the Cityscapes server, on the same files."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segformer_ros.classes import load_class_map
from segformer_ros.frame import Segmentation, StageTimes
from segformer_ros.metrics.metric import ScoredClasses
from segformer_ros.metrics.scorer import Scorer
from segformer_ros.metrics.shape_metrics import CITYSCAPES_SIZES

official = pytest.importorskip('cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling')

FRAMES = 5
COUNTABLE = (11, 12, 13, 14, 15, 16, 17, 18)


def street_like(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Blobs of random classes, some void: (H, W) uint8 train ids."""
    values = rng.choice([*range(19), 255], (shape[0] // 8, shape[1] // 8)).astype(np.uint8)
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_NEAREST)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Scorer, dict[str, Any]]:
    """The same random frames scored by both."""
    if not hasattr(np, 'in1d'):  # cityscapesscripts 2.3 uses what NumPy 2.4 no longer has
        monkeypatch.setattr(np, 'in1d', np.isin, raising=False)
    rng = np.random.default_rng(7)
    class_map = load_class_map('cityscapes')
    label_ids = np.zeros(256, np.uint8)  # void is label id 0 there
    label_ids[:19] = [entry.label_id for entry in class_map.classes]
    scorer = Scorer(ScoredClasses(class_map), instance_sizes=CITYSCAPES_SIZES)
    predictions, truths = [], []
    for index in range(FRAMES):
        truth = street_like(rng, (96, 160))
        guess = street_like(rng, (96, 160))
        guess[guess == 255] = 3
        predicted = np.where(rng.random(truth.shape) < 0.6, truth, guess)
        predicted[predicted == 255] = 5
        instances = np.zeros(truth.shape, np.uint16)
        for number, (train_id, label_id) in enumerate(zip(range(19), label_ids[:19], strict=True)):
            if train_id in COUNTABLE:
                left = np.arange(160) < 80
                here = truth == train_id
                instances[here] = (
                    int(label_id) * 1000 + np.where(left, number, number + 50)[np.nonzero(here)[1]]
                )
        scorer.update(truth, Segmentation(predicted, StageTimes(0, 0, 0)), instances)
        official_instances = np.where(instances > 0, instances, label_ids[truth])
        names = [
            tmp_path / f'frame{index}_{kind}.png'
            for kind in ('gtFine_labelIds', 'gtFine_instanceIds', 'prediction')
        ]
        for name, values in zip(
            names, (label_ids[truth], official_instances, label_ids[predicted]), strict=True
        ):
            cv2.imwrite(str(name), values.astype(np.uint16 if values.max() > 255 else np.uint8))
        truths.append(str(names[0]))
        predictions.append(str(names[2]))
    official.args.quiet = True
    official.args.JSONOutput = False
    return scorer, official.evaluateImgLists(predictions, truths, official.args)


def test_confusion_equals_pixel_for_pixel(run: tuple[Scorer, dict[str, Any]]) -> None:
    scorer, expected = run
    ids = [entry.label_id for entry in scorer.classes.class_map.classes]
    matrix = np.array(expected['confMatrix'], np.int64)[np.ix_(ids, ids)]
    np.testing.assert_array_equal(scorer.compute().confusion.matrix[:, :-1], matrix)


def test_iou_equals(run: tuple[Scorer, dict[str, Any]]) -> None:
    scorer, expected = run
    scores = scorer.compute().confusion
    theirs = [expected['classScores'][name] for name in scorer.classes.names]
    np.testing.assert_allclose(scores.iou, theirs, rtol=0, atol=1e-12)
    assert abs(scores.miou - expected['averageScoreClasses']) <= 1e-12
    assert abs(scores.miou_union - expected['averageScoreClasses']) <= 1e-12


def test_instance_iou_equals(run: tuple[Scorer, dict[str, Any]]) -> None:
    scorer, expected = run
    scores = scorer.compute().instances
    assert scores is not None
    theirs = [expected['classInstScores'][name] for name in scorer.classes.names]
    np.testing.assert_allclose(scores.iiou, theirs, rtol=0, atol=1e-9)
    assert abs(scores.mean - expected['averageScoreInstClasses']) <= 1e-9


def test_merged_classes_are_scored_by_their_own_mean_size() -> None:
    classes = ScoredClasses(load_class_map('cityscapes'), [('rider', 'bicycle')])
    scorer = Scorer(classes, instance_sizes=CITYSCAPES_SIZES)
    truth = np.zeros((40, 60), np.uint8)
    truth[10:30, 10:20], truth[10:30, 30:40] = 12, 18
    instances = np.where(truth > 0, truth, 0).astype(np.uint16)
    scorer.update(truth, Segmentation(truth.copy(), StageTimes(0, 0, 0)), instances)
    scores = scorer.compute().instances
    assert scores is not None and scores.iiou[classes.names.index('rider+bicycle')] == 1
