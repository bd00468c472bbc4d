"""Result bag: the results of a run as messages, on the topics that the demo records."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Set

from segformer_ros import topics
from segformer_ros.camera import Calibration, CameraPose, camera_info_fields
from segformer_ros.drivable import (
    DrivableArea,
    ScanNumbers,
    area_fields,
    grid_fields,
    scan_fields,
)
from segformer_ros.frame import Frame
from segformer_ros.recordings import BagWriter
from segformer_ros.recordings.bag_writer import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    TF_TYPE,
    header_fields,
    jpeg_fields,
    mono8_fields,
    mount_message,
)
from segformer_ros.resources import PACKAGE
from segformer_ros.segmenter.results import SegmentedView

_MASK = topics.recorded(topics.MASK)
_OVERLAY = topics.recorded(topics.COMPRESSED_OVERLAY)
_INFO = topics.recorded(topics.CAMERA_INFO)
_LABELS = topics.recorded(topics.LABELS)
_AREA = topics.recorded(topics.AREA)
_GRID = topics.recorded(topics.GRID)
_SCAN = topics.recorded(topics.SCAN)
_MOUNT = '/tf_static'

_TYPES: Dict[str, str] = {
    _MASK: IMAGE_TYPE,
    _OVERLAY: COMPRESSED_TYPE,
    _INFO: 'sensor_msgs/msg/CameraInfo',
    _LABELS: IMAGE_TYPE,
    _AREA: f'{PACKAGE}/msg/DrivableArea',
    _GRID: 'nav_msgs/msg/OccupancyGrid',
    _SCAN: 'sensor_msgs/msg/LaserScan',
    _MOUNT: TF_TYPE,
}

_JPEG_QUALITY = 80


class ResultBag:
    """Writes the results of each frame, under the frame's stamp and frame id; a context manager.

    A topic is created with its first message. The camera's images are not written, since the
    recording that was segmented has them.

    calibration, pose: of the camera; None where they are not known.
    """

    def __init__(
        self,
        path: Path,
        calibration: Optional[Calibration],
        pose: Optional[CameraPose],
        vehicle_frame: str,
    ) -> None:
        self._bag = BagWriter(path)
        self._calibration = calibration
        self._pose = pose
        self._vehicle_frame = vehicle_frame
        self._topics: Set[str] = set()

    def __enter__(self) -> ResultBag:
        return self

    def __exit__(self, *error: Any) -> None:
        self._bag.__exit__(*error)

    def add(
        self,
        frame: Frame,
        view: SegmentedView,
        area: DrivableArea,
        scan: Optional[ScanNumbers],
    ) -> None:
        """Write one frame: labels, overlay, truth and grid of its view, and the rest."""
        header = header_fields(frame.stamp, frame.frame_id)
        ground = header_fields(frame.stamp, self._vehicle_frame)
        self._write_mount(frame)
        found = {
            _MASK: mono8_fields(header, view.labels),
            _AREA: {'header': header, **area_fields(area, 0.0, self._vehicle_frame)},
        }
        if view.overlay is not None:
            found[_OVERLAY] = jpeg_fields(header, view.overlay, _JPEG_QUALITY)
        known = self._calibration
        if known is not None and (known.height, known.width) == (frame.height, frame.width):
            found[_INFO] = {'header': header, **camera_info_fields(known)}
        if view.truth is not None:
            found[_LABELS] = mono8_fields(header, view.truth)
        if view.grid is not None:
            found[_GRID] = {'header': ground, **grid_fields(view.grid, frame.stamp)}
        if scan is not None:
            found[_SCAN] = {'header': ground, **scan_fields(scan)}
        for topic, fields in found.items():
            self._add_topic(topic)
            self._bag.write_fields(topic, fields, frame.stamp.ns)

    def _write_mount(self, frame: Frame) -> None:
        """Write the mount once; a camera without a frame id of its own cannot be in a TF tree."""
        named = frame.frame_id not in ('', self._vehicle_frame)
        if self._pose is None or _MOUNT in self._topics or not named:
            return
        message = mount_message(self._pose, self._vehicle_frame, frame.frame_id, frame.stamp.ns)
        self._add_topic(_MOUNT)
        self._bag.write_message(_MOUNT, message, frame.stamp.ns)

    def _add_topic(self, topic: str) -> None:
        if topic not in self._topics:
            self._topics.add(topic)
            self._bag.add_topic(topic, _TYPES[topic], latched=topic == _MOUNT)
