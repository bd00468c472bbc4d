# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""An annotated bag of a run: images, masks, overlays and errors, ready for Foxglove."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Tuple

import numpy as np

from segformer_ros import topics
from segformer_ros.evaluation.frame_views import error_view, overlay_view
from segformer_ros.evaluation.runner import EvaluationRun
from segformer_ros.evaluation.shard_worker import Progress, no_progress
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.evaluation.tables import FrameRow, read_frames
from segformer_ros.frame import Frame
from segformer_ros.metrics import ScoredClasses
from segformer_ros.recordings import BagWriter, SourceFrame
from segformer_ros.recordings.bag_writer import (
    header_fields,
    jpeg_fields,
    mono8_fields,
)

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

    The frames are read again, the masks are those that were scored; a frame that could not be
    segmented is left out. Stamps and frame ids are the frames' own. Raises EvaluationError where
    the mask of a scored frame is missing.
    """
    predictions = run.job.mask_folder()
    if predictions is None:
        raise EvaluationError('an annotated bag needs the masks: set EvaluationJob.predictions')
    path = run.out / ANNOTATED_MCAP
    # A reference's table is not for the labels of the recordings, which it stands in for.
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
        found = {
            IMAGE: jpeg_fields(header, image, _JPEG_QUALITY),
            MASK: mono8_fields(header, mask),
            OVERLAY: jpeg_fields(
                header, overlay_view(image, mask, self._classes.class_map), _JPEG_QUALITY
            ),
        }
        if row.scored and entry.labels is not None:
            scored = self._classes.prepare(entry.labels, mask)
            errors = error_view(image, scored.truth, scored.predicted)
            found[ERRORS] = jpeg_fields(header, errors, _JPEG_QUALITY)
        for topic, value in ((MIOU, row.miou), (ACCURACY, row.pixel_accuracy)):
            if not math.isnan(value):
                found[topic] = {'data': value}
        for topic, fields in found.items():
            self._bag.write_fields(topic, fields, frame.stamp.ns)
