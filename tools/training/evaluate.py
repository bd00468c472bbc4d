# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Scores a model on a folder pair, as the model card reports it.

Frames are resized to the network's input, the logits upsampled bilinearly to the frame, argmax.
CamVid's cyclists are rider and cycle in one, so there both predictions count as one class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segformer_ros.metrics.pixel_metrics import ConfusionMatrix, ConfusionScores
from tools.training.data import pairs, read_picture
from tools.training.taxonomy import CLASS_COUNT

# (H, W, 3) uint8 BGR of the network's size -> logits (classes, h, w) float32
Predictor = Callable[[np.ndarray], np.ndarray]
RIDER, BICYCLE = 12, 18
INPUT_SIZE = (384, 512)  # (height, width) of the network at deployment


@dataclass
class Score:
    """What the journal tells of a model's confusion matrix."""

    scores: ConfusionScores

    def iou(self) -> dict[int, float]:
        """IoU of every train id that the truth contains."""
        present = np.flatnonzero(self.scores.pixels)
        return {int(i): float(self.scores.iou[i]) for i in present}

    def miou(self) -> float:
        """Mean of `iou`."""
        return self.scores.miou


def upsampled_labels(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(classes, h, w) logits -> (H, W) uint8 labels: bilinear, then argmax."""
    height, width = size
    full = [cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in logits]
    return np.argmax(np.stack(full), axis=0).astype(np.uint8)


def score_folder(
    predict: Predictor,
    root: Path,
    input_size: tuple[int, int],
    merge_cyclists: bool,
    every: int = 1,
) -> Score:
    """Scores every `every`-th frame of `root` (images/, labels/).

    Args:
        predict: the network.
        root: folder pair.
        input_size: (height, width) that frames are resized to.
        merge_cyclists: count bicycle (18) as rider (12), in truth and prediction.
        every: 1 for all frames.
    """
    fold = np.arange(256, dtype=np.uint8)
    if merge_cyclists:
        fold[BICYCLE] = RIDER
    confusion = ConfusionMatrix(CLASS_COUNT)
    for image_path, label_path in pairs(root)[::every]:
        image = read_picture(image_path, cv2.IMREAD_COLOR)
        truth = fold[read_picture(label_path, cv2.IMREAD_UNCHANGED)]
        resized = cv2.resize(image, input_size[::-1], interpolation=cv2.INTER_LINEAR)
        confusion.update(truth, fold[upsampled_labels(predict(resized), truth.shape)])
    return Score(confusion.compute())
