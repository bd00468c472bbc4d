"""An annotated bag of a run: images, masks, overlays and errors, ready for Foxglove."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.evaluation.predictions import Predictions
from segformer_ros.evaluation.tables import FrameRow
from segformer_ros.evaluation.views import error_view, overlay_view
from segformer_ros.evaluation.worker import Progress, no_progress
from segformer_ros.frame import Frame
from segformer_ros.metrics import ScoredClasses
from segformer_ros.recording import BagWriter
from segformer_ros.recording.bag import recording_types
from segformer_ros.sources import Source, SourceFrame

IMAGE = '/image/compressed'
MASK = '/segmentation/mask'
OVERLAY = '/segmentation/overlay/compressed'
ERRORS = '/evaluation/errors/compressed'
MIOU = '/evaluation/miou'
ACCURACY = '/evaluation/pixel_accuracy'

_COMPRESSED = 'sensor_msgs/msg/CompressedImage'
_TOPICS: Tuple[Tuple[str, str], ...] = (
    (IMAGE, _COMPRESSED),
    (MASK, 'sensor_msgs/msg/Image'),
    (OVERLAY, _COMPRESSED),
    (ERRORS, _COMPRESSED),
    (MIOU, 'std_msgs/msg/Float32'),
    (ACCURACY, 'std_msgs/msg/Float32'),
)
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 90)


def write_annotated_bag(
    path: Path,
    recordings: Sequence[Tuple[str, Source]],
    rows: Sequence[FrameRow],
    predictions: Predictions,
    classes: ScoredClasses,
    progress: Progress = no_progress,
) -> None:
    """Write an mcap with all frames of a finished run.

    recordings: their names in `rows` and themselves. The frames are read again, the masks are
    those that were scored. Stamps and frame ids are the frames' own.
    """
    scores = {(row.input, row.index): row for row in rows}
    with BagWriter(path) as bag:
        for topic, msgtype in _TOPICS:
            bag.add_topic(topic, msgtype)
        annotator = _Annotator(bag, classes)
        for name, source in recordings:
            for entry in source:
                if entry.frame is not None:
                    mask = predictions.read(name, entry.key)
                    annotator.write(entry, entry.frame, mask, scores[name, entry.index])
                progress(1)


class _Annotator:
    """Writes the messages of one frame after another."""

    def __init__(self, bag: BagWriter, classes: ScoredClasses) -> None:
        self._bag = bag
        self._classes = classes
        self._types: Dict[str, Any] = recording_types().types

    def write(self, entry: SourceFrame, frame: Frame, mask: np.ndarray, row: FrameRow) -> None:
        image = frame.bgr()
        self._write_jpeg(IMAGE, frame, image)
        self._write_mask(frame, mask)
        self._write_jpeg(OVERLAY, frame, overlay_view(image, mask, self._classes.class_map))
        if row.scored and entry.labels is not None:
            scored = self._classes.prepare(entry.labels, mask)
            self._write_jpeg(ERRORS, frame, error_view(image, scored.truth, scored.predicted))
        for topic, value in ((MIOU, row.miou), (ACCURACY, row.pixel_accuracy)):
            if not math.isnan(value):
                number = self._types['std_msgs/msg/Float32'](value)
                self._bag.write_message(topic, number, frame.stamp.ns)

    def _write_jpeg(self, topic: str, frame: Frame, pixels: np.ndarray) -> None:
        _, data = cv2.imencode('.jpg', pixels, _JPEG)
        message = self._types[_COMPRESSED](
            header=self._header(frame), format='bgr8; jpeg compressed bgr8', data=data.ravel()
        )
        self._bag.write_message(topic, message, frame.stamp.ns)

    def _write_mask(self, frame: Frame, mask: np.ndarray) -> None:
        height, width = mask.shape
        message = self._types['sensor_msgs/msg/Image'](
            header=self._header(frame),
            height=height,
            width=width,
            encoding='mono8',
            is_bigendian=0,
            step=width,
            data=np.ascontiguousarray(mask).ravel(),
        )
        self._bag.write_message(MASK, message, frame.stamp.ns)

    def _header(self, frame: Frame) -> Any:
        stamp = self._types['builtin_interfaces/msg/Time'](*frame.stamp)
        return self._types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame.frame_id)
