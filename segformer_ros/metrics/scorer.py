# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Scorer: all metrics of a run, fed frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, NamedTuple, Optional

import numpy as np

from segformer_ros.camera import Camera
from segformer_ros.classes import IGNORE_ID
from segformer_ros.frame import Segmentation
from segformer_ros.metrics.free_space import (
    METRES,
    ROWS,
    FreeSpaceMetric,
    FreeSpaceReader,
    FreeSpaceScores,
    GroundCells,
    GroundOverlap,
    GroundOverlapScores,
    MapScores,
    MapTruth,
)
from segformer_ros.metrics.metric import Metric, ScoredClasses, ratio
from segformer_ros.metrics.pixel_metrics import (
    ConfusionMatrix,
    ConfusionScores,
    Flicker,
    FlickerScores,
    Reliability,
    ReliabilityScores,
)
from segformer_ros.metrics.shape_metrics import (
    BoundaryFScore,
    BoundaryScores,
    InstanceIou,
    InstanceScores,
)


class FrameScore(NamedTuple):
    """What one frame adds to the counts.

    matrix: (K, K + 1) int64 confusion. unknown: (N, 2) int64, see Prepared.
    stays, changed: pixels with the same true class as in the previous frame, and those of them
        whose predicted class changed.
    columns, false_free, false_blocked: columns of free space, in metres where the camera is
        calibrated, else in shares of the image.
    """

    matrix: np.ndarray
    unknown: np.ndarray
    stays: int
    changed: int
    columns: int
    false_free: int
    false_blocked: int


@dataclass(frozen=True)
class DrivableScores:
    """The drivable area of a run.

    iou: of all drivable classes as one. background_iou: of all others as one. metres, ground:
    None without a calibrated camera. rows: over all frames.
    """

    group: str
    iou: float
    background_iou: float
    metres: Optional[FreeSpaceScores]
    rows: FreeSpaceScores
    ground: Optional[GroundOverlapScores]

    @property
    def miou(self) -> float:
        """Mean of both IoUs, as reported for BDD100K's drivable area."""
        return (self.iou + self.background_iou) / 2

    @property
    def best(self) -> FreeSpaceScores:
        """The scores in metres, if there are any, else those in rows."""
        return self.metres or self.rows


@dataclass(frozen=True)
class Scores:
    """Scores of all frames; None where there was nothing to score (no instances, ...)."""

    confusion: ConfusionScores
    boundary: BoundaryScores
    flicker: Optional[FlickerScores]
    calibration: Optional[ReliabilityScores]
    instances: Optional[InstanceScores]
    drivable: Optional[DrivableScores]
    map: Optional[MapScores]


class Scorer:
    """The metrics of a run; merging counts in any order gives the same result, to the bit.

    drivable: drivable group of the class map (or class names joined by '+'), '' for none.
    instance_sizes: see InstanceIou.
    """

    def __init__(
        self,
        classes: ScoredClasses,
        drivable: str = '',
        instance_sizes: Optional[Mapping[str, float]] = None,
    ) -> None:
        self.classes = classes
        self.drivable = drivable
        self._confusion = ConfusionMatrix(len(classes))
        self._boundary = BoundaryFScore(len(classes))
        self._flicker = Flicker(len(classes))
        self._reliability = Reliability()
        self._instances = InstanceIou(classes, instance_sizes)
        self._metres = FreeSpaceMetric(METRES)
        self._rows = FreeSpaceMetric(ROWS)
        self._ground = GroundOverlap()
        #: Updated by callers that make maps of the frames.
        self.map = MapTruth(classes.class_map)
        self._metrics: Dict[str, Metric[object]] = {
            'confusion': self._confusion,
            'boundary': self._boundary,
            'flicker': self._flicker,
            'calibration': self._reliability,
            'instances': self._instances,
            'metres': self._metres,
            'rows': self._rows,
            'ground': self._ground,
            'map': self.map,
        }
        self._free_space: Optional[FreeSpaceReader] = None
        self._cells: Optional[GroundCells] = None
        self.begin(Camera())

    def begin(self, camera: Camera) -> None:
        """Treat the next frame as the first of a sequence, seen by this camera."""
        self.restart()
        if self.drivable:
            class_map = self.classes.class_map
            self._free_space = FreeSpaceReader(class_map, self.drivable, camera)
            self._cells = GroundCells(class_map, self.drivable, camera)

    def restart(self) -> None:
        """Treat the next frame as one that does not follow the last one."""
        self._flicker.restart()

    def follow(self, labels: np.ndarray, result: Segmentation) -> None:
        """Make this frame the previous one, without counting it."""
        prepared = self.classes.prepare(labels, result.labels)
        self._flicker.remember(prepared.truth, prepared.predicted)

    def update(
        self, labels: np.ndarray, result: Segmentation, instances: Optional[np.ndarray] = None
    ) -> FrameScore:
        """Count one frame.

        labels: (H, W) uint8 train ids, 255 = not scored. instances: (H, W) uint16, 0 = none.
        Raises MetricError where the sizes differ.
        """
        truth, predicted, unknown = self.classes.prepare(labels, result.labels)
        matrix = self._confusion.update(truth, predicted)
        self._boundary.update(truth, predicted)
        if result.confidence is not None:
            self._reliability.update(truth, predicted, result.confidence)
        if instances is not None:
            self._instances.update(truth, predicted, instances, matrix)
        stays, changed = self._flicker.update(truth, predicted).sum(axis=0)
        if len(unknown):
            labels = np.where(truth == IGNORE_ID, truth, labels)
        cells = self._cells and self._cells.read(labels, result.labels, result.confidence)
        if cells:
            self._ground.update(*cells)
        return FrameScore(
            matrix, unknown, int(stays), int(changed), *self._free_columns(labels, result.labels)
        )

    def counts(self) -> Dict[str, np.ndarray]:
        """Copies of the counts of all metrics, by name."""
        return {name: metric.counts.copy() for name, metric in self._metrics.items()}

    def merge(self, counts: Mapping[str, np.ndarray]) -> None:
        """Add the `counts` of another scorer; raises MetricError if their classes differ."""
        for name, metric in self._metrics.items():
            metric.merge(counts[name])

    def reset(self) -> None:
        """Forget all frames."""
        self.reset_counts()
        self.restart()

    def reset_counts(self) -> None:
        """Set all counts to 0; the next frame still follows the last one."""
        for metric in self._metrics.values():
            metric.reset()

    def compute(self, unmeasured: bool = False) -> Scores:
        """Scores of all frames; unmeasured: include metrics that had nothing to score, as NaN."""
        flicker, calibration = self._flicker, self._reliability
        instances = unmeasured or self._instances.counts[:, 0].any()
        return Scores(
            confusion=self._confusion.compute(),
            boundary=self._boundary.compute(),
            flicker=flicker.compute() if unmeasured or flicker.counts.any() else None,
            calibration=calibration.compute() if unmeasured or calibration.counts.any() else None,
            instances=self._instances.compute() if instances else None,
            drivable=self._drivable_scores(unmeasured) if self.drivable else None,
            map=self.map.compute() if unmeasured or self.map.counts.any() else None,
        )

    def _free_columns(self, labels: np.ndarray, predicted: np.ndarray) -> List[int]:
        if self._free_space is None:
            return [0, 0, 0]
        true, estimated = self._free_space.read(labels), self._free_space.read(predicted)
        counted = self._rows.update(true.rows, estimated.rows)
        if true.metres is not None and estimated.metres is not None:
            counted = self._metres.update(true.metres, estimated.metres)
        return list(counted)

    def _drivable_scores(self, unmeasured: bool) -> DrivableScores:
        free = self.classes.class_map.drivable_ids(self.drivable)
        ids = list(self.classes.scored_ids(free))
        matrix = self._confusion.counts
        both = int(matrix[np.ix_(ids, ids)].sum())
        either = int(matrix[ids].sum()) + int(matrix[:, ids].sum()) - both
        total = int(matrix.sum())
        return DrivableScores(
            group=self.drivable,
            iou=ratio(both, either),
            background_iou=ratio(total - either, total - both),
            metres=self._metres.compute() if unmeasured or self._metres.counts.any() else None,
            rows=self._rows.compute(),
            ground=self._ground.compute() if unmeasured or self._ground.counts.any() else None,
        )
