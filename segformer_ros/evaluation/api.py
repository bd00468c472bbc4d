# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Evaluation as one function call, which `segformer evaluate` uses, too.

On request it writes an annotated bag for Foxglove: images, masks, overlays and errors.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from segformer_ros import topics
from segformer_ros.camera import CameraPose
from segformer_ros.engines import EngineOptions
from segformer_ros.evaluation.executors import share_of_threads
from segformer_ros.evaluation.frame_views import error_view, overlay_view
from segformer_ros.evaluation.job import ANY_SOURCE, EvaluationJob, ModelChoice
from segformer_ros.evaluation.regression_gate import (
    Limit,
    baseline_notes,
    broken_drops,
    broken_limits,
    check_gates,
    parse_limits,
    read_metrics,
)
from segformer_ros.evaluation.report import report_run
from segformer_ros.evaluation.runner import EvaluationRun, Execution
from segformer_ros.evaluation.shard_worker import Progress, no_progress
from segformer_ros.evaluation.shards import PREDICTIONS, EvaluationError
from segformer_ros.evaluation.tables import FrameRow, read_frames
from segformer_ros.frame import Frame
from segformer_ros.metrics.metric import ScoredClasses
from segformer_ros.recordings import BagWriter, SourceFrame, SourceOptions
from segformer_ros.recordings.bag_writer import (
    header_fields,
    jpeg_fields,
    mono8_fields,
)

_log = logging.getLogger(__name__)

Location = Union[str, Path]


class Gates(NamedTuple):
    """Limits that the scores of a run must meet.

    limits: of its scores. drops: how much worse than the baseline's they may be. baseline: the
    metrics.json of another run, None for none.
    """

    limits: Tuple[Limit, ...] = ()
    drops: Tuple[Limit, ...] = ()
    baseline: Optional[Dict[str, Any]] = None

    @classmethod
    def parse(
        cls, fail_under: str = '', max_drop: str = '', baseline: Optional[Path] = None
    ) -> Gates:
        """Gates from text such as 'miou=0.6,iou.road=0.95'; raises EvaluationError."""
        limits, drops = parse_limits(fail_under), parse_limits(max_drop)
        metrics = read_metrics(baseline) if baseline else None
        if drops and metrics is None:
            raise EvaluationError('--max-drop needs --baseline, the metrics.json to compare with')
        return cls(limits, drops, metrics)

    def check(self, run: EvaluationRun) -> List[str]:
        """Notes on a run that is about to begin; raises EvaluationError for wrong gates."""
        blank = run.blank()
        check_gates(blank, self.limits, self.drops, self.baseline)
        return [*run.notes, *(baseline_notes(blank, self.baseline) if self.baseline else ())]

    def broken(self, metrics: Mapping[str, Any]) -> List[str]:
        """One line for each gate that the scores do not meet."""
        broken = broken_limits(metrics, self.limits)
        if self.baseline:
            broken += broken_drops(metrics, self.baseline, self.drops)
        return broken


@dataclass(frozen=True)
class EvaluationReport:
    """A finished evaluation.

    metrics: content of metrics.json, as in `metrics['miou']` and `metrics['iou']['road']`.
    speed: content of speed.json.
    page: path of report.html, beside which the other results are.
    broken: a line for each gate that was not met.
    """

    metrics: Dict[str, Any]
    speed: Dict[str, Any]
    page: Path
    broken: Tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluationOptions:
    """How recordings are scored and what is written: the options of `segformer evaluate`.

    engine, engine_options, classes, upsampling: as for `Segmenter`.
    sources: how recordings and their labels are read.
    reference: another model, whose masks are used as the truth.
    merged: groups of class names that are scored as one.
    drivable: what may be driven on: a group of the class map, or class names joined by '+'.
    pose, hfov: place and horizontal field of view (degrees) of a camera that the recordings do
        not know.
    baseline: metrics.json of another run, for `max_drop` and the report.
    fail_under, max_drop: gates, as in 'miou=0.6,iou.road=0.95'.
    write_predictions, write_mcap: keep the masks; write annotated.mcap for Foxglove.
    worst: number of worst frames in the report.
    workers: processes that share the frames.
    ray: address of a Ray cluster.
    """

    engine: str = 'auto'
    engine_options: EngineOptions = EngineOptions()
    classes: str = ''
    upsampling: str = 'exact'
    sources: SourceOptions = ANY_SOURCE
    reference: Location = ''
    merged: Sequence[Sequence[str]] = ()
    drivable: str = ''
    pose: Optional[CameraPose] = None
    hfov: Optional[float] = None
    baseline: Optional[Location] = None
    fail_under: str = ''
    max_drop: str = ''
    write_predictions: bool = False
    write_mcap: bool = False
    worst: int = 6
    workers: int = 1
    ray: str = ''

    def gates(self) -> Gates:
        """The limits that the scores must meet; raises EvaluationError."""
        baseline = Path(self.baseline) if self.baseline else None
        return Gates.parse(self.fail_under, self.max_drop, baseline)

    def execution(self) -> Execution:
        """Who does the work."""
        return Execution(self.workers, self.ray)

    def job(self, inputs: Sequence[Location], model: Location, out: Location) -> EvaluationJob:
        """What is scored, and everything that the numbers depend on."""
        threads = self.engine_options.threads or share_of_threads(self.workers)
        reference = None
        if self.reference:
            reference = ModelChoice(
                str(self.reference), options=EngineOptions(threads=threads, streams=2)
            )
        masks = self.write_predictions or self.write_mcap
        options = replace(self.engine_options, threads=threads, streams=2)
        return EvaluationJob(
            inputs=tuple(map(str, inputs)),
            sources=self.sources,
            model=ModelChoice(str(model), self.engine, options, self.classes),
            reference=reference,
            merged=tuple(map(tuple, self.merged)),
            drivable=self.drivable,
            pose=self.pose,
            hfov=self.hfov,
            upsampling=self.upsampling,
            worst=self.worst,
            predictions=str(Path(out) / PREDICTIONS) if masks else '',
        )


def evaluate(
    inputs: Union[Location, Sequence[Location]],
    model: Location = '',
    out: Location = 'out/evaluation',
    options: EvaluationOptions = EvaluationOptions(),
    *,
    labels: Optional[Location] = None,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Score a model on recordings with known labels, and write the results into a folder.

    Does what `segformer evaluate` does. An interrupted run is resumed when this is called again
    with the same arguments.

    inputs: one recording or several: bags, videos, folders of images, Cityscapes folders.
    model: as for `Segmenter`.
    out: folder for metrics.json, report.html and the other results.
    labels: folder of label images `KEY.png`; short for `options.sources.labels`.
    progress: called with the number of frames that were finished since the last call.

    Raises SegformerError; a gate that is not met raises nothing and is in `broken`.
    """
    gates = options.gates()
    if labels:
        options = replace(options, sources=replace(options.sources, labels=Path(labels)))
    paths = [inputs] if isinstance(inputs, (str, Path)) else inputs
    with EvaluationRun(options.job(paths, model, out), Path(out)) as run:
        for note in gates.check(run):
            _log.warning(note)
        report = score(run, gates, options.execution(), progress)
        if options.write_mcap:
            annotate_run(run)
        run.finish()
    return report


def score(
    run: EvaluationRun,
    gates: Gates,
    execution: Execution,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Score what is left of a run and write its results; the caller ends it with `finish`."""
    evaluation = run.execute(execution, progress)
    broken = gates.broken(evaluation.metrics)
    page = report_run(run, evaluation, gates.baseline, broken)
    return EvaluationReport(evaluation.metrics, evaluation.speed, page, tuple(broken))


ANNOTATED_MCAP = 'annotated.mcap'

IMAGE = topics.recorded(topics.COMPRESSED_IMAGE)
MASK = topics.recorded(topics.MASK)
OVERLAY = topics.recorded(topics.COMPRESSED_OVERLAY)
ERRORS = '/evaluation/errors/compressed'
MIOU = '/evaluation/miou'
ACCURACY = '/evaluation/pixel_accuracy'

_TOPICS: Tuple[Tuple[str, str], ...] = (
    (IMAGE, topics.COMPRESSED_TYPE),
    (MASK, topics.IMAGE_TYPE),
    (OVERLAY, topics.COMPRESSED_TYPE),
    (ERRORS, topics.COMPRESSED_TYPE),
    (MIOU, 'std_msgs/msg/Float32'),
    (ACCURACY, 'std_msgs/msg/Float32'),
)
_JPEG_QUALITY = 90


def annotate_run(run: EvaluationRun, progress: Progress = no_progress) -> Path:
    """Write an mcap with all frames of a finished run whose masks were kept; returns its path.

    The frames are read again, the masks are the scored ones; a frame that could not be segmented
    is left out. Stamps and frame ids are the frames' own. Raises EvaluationError where the mask of
    a scored frame is missing.
    """
    predictions = run.job.mask_folder()
    if predictions is None:
        raise EvaluationError('an annotated bag needs the masks: set EvaluationJob.predictions')
    path = run.out / ANNOTATED_MCAP
    # With a reference, the tables translate its masks, not the labels of the recordings.
    tables = run.job.truth_tables(run.sources)
    if run.job.reference is not None:
        tables = [None] * len(tables)
    scores = {(row.input, row.index): row for row in read_frames(run.out)}
    with BagWriter(path) as bag:
        for topic, msgtype in _TOPICS:
            bag.add_topic(topic, msgtype)
        annotator = _Annotator(bag, run.job.scorer().classes)
        for name, source, table in zip(run.names, run.sources, tables):
            for entry in source:
                row = scores[name, entry.index]
                has_mask = row.scored or predictions.has(name, entry.key)
                if table is not None and entry.labels is not None:
                    entry = replace(entry, labels=table[entry.labels])
                if entry.frame is not None and has_mask:
                    mask = predictions.read(name, entry.key)
                    annotator.write(entry, entry.frame, mask, row)
                progress(1)
    return path


class _Annotator:
    """Writes the messages of one frame after another."""

    def __init__(self, bag: BagWriter, classes: ScoredClasses) -> None:
        self._bag = bag
        self._classes = classes

    def write(self, entry: SourceFrame, frame: Frame, mask: np.ndarray, row: FrameRow) -> None:
        image = frame.bgr()
        header = header_fields(frame.stamp, frame.frame_id)
        messages = {
            IMAGE: jpeg_fields(header, image, _JPEG_QUALITY),
            MASK: mono8_fields(header, mask),
            OVERLAY: jpeg_fields(
                header, overlay_view(image, mask, self._classes.class_map), _JPEG_QUALITY
            ),
        }
        if row.scored and entry.labels is not None:
            scored = self._classes.prepare(entry.labels, mask)
            errors = error_view(image, scored.truth, scored.predicted)
            messages[ERRORS] = jpeg_fields(header, errors, _JPEG_QUALITY)
        for topic, value in ((MIOU, row.miou), (ACCURACY, row.pixel_accuracy)):
            if not math.isnan(value):
                messages[topic] = {'data': value}
        for topic, fields in messages.items():
            self._bag.write_fields(topic, fields, frame.stamp.ns)
