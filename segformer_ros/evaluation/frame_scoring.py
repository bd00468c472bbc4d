"""The scoring of one segmented frame, and its record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from segformer_ros.evaluation.predictions import Predictions
from segformer_ros.evaluation.shards import FrameRecord
from segformer_ros.evaluation.worst_frames import Picture, WorstFrames
from segformer_ros.metrics import MetricError, Scorer
from segformer_ros.metrics.scored_classes import unknown_note
from segformer_ros.recordings import SourceFrame
from segformer_ros.segmentation import Segmentation


class Segmented(NamedTuple):
    """One entry of a recording after the engine.

    result: None where the frame cannot be segmented. labels: (H, W) uint8 train ids of the truth,
    None where there is none. note: what is wrong, '' for nothing.
    """

    entry: SourceFrame
    result: Optional[Segmentation]
    labels: Optional[np.ndarray]
    note: str = ''


class ScoredFrame(NamedTuple):
    """A scored frame: its record, and its (K, K + 1) confusion where it counts."""

    record: FrameRecord
    matrix: Optional[np.ndarray]


@dataclass
class FrameScorer:
    """Scores frames in the order of their recording.

    inputs: the recordings' names. predictions: where the masks are written, None for nowhere.
    """

    scorer: Scorer
    worst: WorstFrames
    inputs: Sequence[str]
    predictions: Optional[Predictions] = None

    def score(self, source: int, segmented: Segmented) -> ScoredFrame:
        """Score one frame; what cannot be scored becomes the record's note."""
        started = perf_counter()
        entry, result, labels, note = segmented
        record = FrameRecord(source, entry.index, entry.key, note=note)
        if entry.frame is not None:
            record = replace(record, stamp_ns=entry.frame.stamp.ns)
        if result is None:
            self.scorer.restart()
            return ScoredFrame(record, None)
        record = replace(record, **result.times._asdict())
        if self.predictions is not None:
            self.predictions.write(self.inputs[source], entry.key, result.labels)
        if labels is None:
            self.scorer.restart()
            return ScoredFrame(replace(record, note=note or 'no truth for this frame'), None)
        try:
            score = self.scorer.update(labels, result, entry.truth.instances)
        except MetricError as error:
            self.scorer.restart()
            return ScoredFrame(replace(record, note=str(error)), None)
        total = int(score.matrix.sum())
        hits = int(np.trace(score.matrix[:, :-1]))
        if entry.frame is not None and total:
            self.worst.offer(
                entry.index, 1.0 - hits / total, entry.frame.bgr(), labels, result.labels
            )
        record = replace(
            record,
            note=note or unknown_note(score.unknown),
            scored=True,
            stays=score.stays,
            changed=score.changed,
            columns=score.columns,
            false_free=score.false_free,
            false_blocked=score.false_blocked,
            score=(perf_counter() - started) * 1e3,
        )
        return ScoredFrame(record, score.matrix)

    def follow(self, segmented: Segmented) -> None:
        """Take a frame as the one before the next, without scoring it."""
        self.scorer.restart()
        if segmented.result is not None and segmented.labels is not None:
            try:
                self.scorer.follow(segmented.labels, segmented.result)
            except MetricError:
                self.scorer.restart()

    def pictures(self) -> List[Picture]:
        """The worst frames since the last call, worst first."""
        return self.worst.take()
