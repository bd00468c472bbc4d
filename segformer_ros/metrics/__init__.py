# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Metrics of segmentation: whole counts that merge exactly, and the scores they give."""

from segformer_ros.camera import Camera
from segformer_ros.metrics.metric import Metric, MetricError
from segformer_ros.metrics.pixel_metrics import ConfusionMatrix, ConfusionScores, confusion_scores
from segformer_ros.metrics.scored_classes import ScoredClasses
from segformer_ros.metrics.scorer import FrameScore, Scorer, Scores

__all__ = [
    'Camera',
    'ConfusionMatrix',
    'ConfusionScores',
    'FrameScore',
    'Metric',
    'MetricError',
    'ScoredClasses',
    'Scorer',
    'Scores',
    'confusion_scores',
]
