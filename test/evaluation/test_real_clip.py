# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The real clip through the whole evaluation, against cityscapesscripts on the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segformer_ros.classes import load_class_map
from segformer_ros.evaluation.job import EvaluationJob
from segformer_ros.evaluation.runner import EvaluationRun
from segformer_ros.model import bundled_model
from segformer_ros.recordings import SourceOptions

official: Any = pytest.importorskip('cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling')
pytestmark = pytest.mark.slow


def test_equals_cityscapesscripts(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = camvid / 'val/labels'
    job = EvaluationJob(
        (str(camvid / 'val/images'),),
        SourceOptions(labels=labels),
        predictions=str(tmp_path / 'predictions'),
    )
    assert bundled_model().is_file()
    metrics = EvaluationRun(job, tmp_path / 'out').execute().metrics
    assert metrics['frames'] == {'total': 101, 'scored': 101, 'noted': 0}

    classes = load_class_map('cityscapes').classes
    label_ids = np.zeros(256, np.uint8)
    label_ids[:19] = [entry.label_id for entry in classes]
    truths, predictions = [], []
    for file in sorted(labels.glob('*.png')):
        values = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert values is not None
        truths.append(str(tmp_path / f'{file.stem}_gtFine_labelIds.png'))
        cv2.imwrite(truths[-1], label_ids[values])
        predictions.append(str(tmp_path / f'predictions/images/{file.stem}.png'))
    monkeypatch.setattr(official.args, 'quiet', True)
    monkeypatch.setattr(official.args, 'JSONOutput', False)
    monkeypatch.setattr(official.args, 'evalInstLevelScore', False)
    monkeypatch.setattr(official, 'getInstanceIouScoreForCategory', lambda *_: float('nan'))
    monkeypatch.setattr(official, 'getInstanceIouScoreForLabel', lambda *_: float('nan'))
    expected = official.evaluateImgLists(predictions, truths, official.args)

    ids = label_ids[:19]
    theirs = np.array(expected['confMatrix'], np.int64)[np.ix_(ids, ids)]
    np.testing.assert_array_equal(metrics['confusion'], theirs)
    assert abs(metrics['miou_union'] - expected['averageScoreClasses']) <= 1e-12
    for entry in classes:
        iou = metrics['iou'][entry.name]
        assert np.isclose(
            np.nan if iou is None else iou,
            expected['classScores'][entry.name],
            rtol=0, atol=1e-12, equal_nan=True,
        )  # fmt: skip
