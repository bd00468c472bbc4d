# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""metrics.json: what it says, and that it is read back as it was."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from segformer_ros.classes import load_class_map
from segformer_ros.frame import Segmentation, StageTimes
from segformer_ros.metrics.document import (
    InputFacts,
    Note,
    ScoredFrameCounts,
    metrics_document,
    write_json,
)
from segformer_ros.metrics.metric import ScoredClasses
from segformer_ros.metrics.scorer import Scorer

CLASSES = ScoredClasses(load_class_map('cityscapes'), [('rider', 'bicycle')])


def document() -> dict[str, Any]:
    """Of one frame: a road with one pixel of a rider, which is not found."""
    scorer = Scorer(CLASSES)
    labels = np.zeros((30, 30), np.uint8)
    labels[0] = 255
    labels[20, 20] = 18
    predicted = np.zeros_like(labels)
    predicted[29] = 1
    predicted[28] = 255
    scorer.update(labels, Segmentation(predicted, StageTimes(0, 0, 0)))
    counts = ScoredFrameCounts(2, 1, 1, [Note('drive', 'frame7', 'cut short')])
    inputs = [InputFacts('drive', 2, ('odd',))]
    return metrics_document(CLASSES, scorer.compute(), counts, inputs, {'model': 'm.onnx'})


def test_scores_and_counts() -> None:
    metrics = document()
    assert metrics['iou']['road'] == (29 * 30 - 1 - 60) / (29 * 30)
    assert metrics['iou']['rider+bicycle'] == 0.0
    assert metrics['iou']['sidewalk'] == 0.0
    assert metrics['iou']['car'] is None
    assert metrics['miou'] == metrics['iou']['road'] / 2
    assert metrics['miou_union'] == metrics['iou']['road'] / 3
    assert metrics['pixels']['road'] == 29 * 30 - 1
    assert metrics['rare'] == {'rider+bicycle': 1}
    assert metrics['confusion'][0][:2] == [29 * 30 - 1 - 60, 30]
    assert metrics['no_class'][0] == 30
    assert metrics['notes'] == [{'input': 'drive', 'frame': 'frame7', 'note': 'cut short'}]
    assert metrics['ece'] is None
    assert metrics['drivable'] is None


def test_json_is_valid_and_reads_back(tmp_path: Path) -> None:
    metrics = document()
    path = tmp_path / 'metrics.json'
    write_json(path, metrics)
    text = path.read_text()
    assert json.loads(text) == metrics
    assert 'NaN' not in text
    rows = [line for line in text.splitlines() if line.strip().startswith('[')]
    assert len(rows) == len(CLASSES)  # one line for each row of the confusion matrix
