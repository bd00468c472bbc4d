# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Results of a run: overlays as a video, some frames as pictures, and everything as a bag."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Set

import numpy as np

from segformer_ros import topics
from segformer_ros.camera import Calibration, CameraPose, camera_info_fields
from segformer_ros.classes import ClassMap
from segformer_ros.destination import output_folder, write_image
from segformer_ros.drawing.birdseye import BirdsEye, draw_map
from segformer_ros.drawing.overlay import (
    Panel,
    blend,
    colorize,
    draw_boundary,
    draw_legend,
    side_by_side,
)
from segformer_ros.drivable import (
    DrivableArea,
    GridNumbers,
    PlanarPose,
    ScanNumbers,
    area_fields,
    grid_fields,
    odometry_fields,
    scan_fields,
)
from segformer_ros.engines.upsampling import resize_labels
from segformer_ros.frame import Frame
from segformer_ros.recordings import BagWriter, VideoWriter
from segformer_ros.recordings.bag_writer import (
    header_fields,
    jpeg_fields,
    mono8_fields,
    mount_message,
)
from segformer_ros.resources import PACKAGE

PICTURES = 6
"""Number of frames that are written as pictures, evenly spread over the run."""

_PANEL_HEIGHT, _PANEL_WIDTH = 360, 294  # with the map, as wide as two 16:9 pictures


def empty_folder(folder: Path) -> Path:
    """Make a folder for PNG files, without those of an earlier run."""
    for old in output_folder(folder).glob('*.png'):
        old.unlink()
    return folder


class SegmentedView(NamedTuple):
    """One segmented frame with what is drawn of it.

    image: (H, W, 3) uint8 BGR. labels: (h, w) uint8 train ids, of any size. overlay: None
    to have it drawn. truth: (H, W) uint8 train ids. area, grid: the drivable area, if known.
    map: the ground map; place: pose of the vehicle in the map's frame.
    """

    key: str
    stamp_ns: int
    image: np.ndarray
    labels: np.ndarray
    overlay: Optional[np.ndarray] = None
    truth: Optional[np.ndarray] = None
    area: Optional[DrivableArea] = None
    grid: Optional[GridNumbers] = None
    map: Optional[GridNumbers] = None
    place: Optional[PlanarPose] = None


def draw_overlay(view: SegmentedView, class_map: ClassMap) -> np.ndarray:
    """A view's image with class colours and the boundary of its area: (H, W, 3) uint8 BGR."""
    labels = resize_labels(view.labels, view.image.shape[:2])
    overlay = blend(view.image, labels, class_map.palette_bgr)
    if view.area is not None:
        draw_boundary(overlay, view.area, class_map)
    return overlay


class ResultFolder:
    """Writes `overlay.mp4` and `frames/KEY.png` of a run; a context manager.

    frames: number of views to expect, over which the pictures are spread.
    """

    def __init__(self, folder: Path, class_map: ClassMap, frames: int) -> None:
        self.folder = folder
        self._class_map = class_map
        self._palette = class_map.palette_bgr
        self._birds_eye = BirdsEye(_PANEL_HEIGHT, _PANEL_WIDTH, class_map)
        self._video = VideoWriter(folder / 'overlay.mp4')
        last = max(frames - 1, 0)
        self._chosen: Set[int] = {
            round(last * number / max(PICTURES - 1, 1)) for number in range(PICTURES)
        }
        self._pictures = empty_folder(folder / 'frames')
        self._count = 0

    def __enter__(self) -> ResultFolder:
        return self

    def __exit__(self, *error: Any) -> None:
        self._video.__exit__(*error)

    def add(self, view: SegmentedView) -> None:
        """Write one view."""
        overlay = view.overlay
        if overlay is None:
            overlay = draw_overlay(view, self._class_map)
        self._video.write(overlay, view.stamp_ns)
        if self._count in self._chosen:
            self._write_picture(view, overlay)
        self._count += 1

    def _write_picture(self, view: SegmentedView, overlay: np.ndarray) -> None:
        panels = [Panel('camera', view.image), Panel('segmentation', overlay)]
        if view.truth is not None:
            panels.append(Panel('labels', colorize(view.truth, self._palette)))
        if view.area is not None and view.area.calibrated and view.grid is not None:
            panels.append(Panel('from above', self._birds_eye.draw(view.area, view.grid)))
            if view.map is not None and view.place is not None:
                panel = draw_map(_PANEL_HEIGHT, view.map, view.place, view.area)
                panels.append(Panel('map', panel))
        picture = side_by_side(panels, _PANEL_HEIGHT)
        shown = np.flatnonzero(np.bincount(view.labels.ravel()))
        legend = draw_legend(self._class_map, shown.tolist(), picture.shape[1])
        write_image(self._pictures / f'{view.key}.png', np.vstack([picture, legend]))


_MASK = topics.recorded(topics.MASK)
_OVERLAY = topics.recorded(topics.COMPRESSED_OVERLAY)
_INFO = topics.recorded(topics.CAMERA_INFO)
_LABELS = topics.recorded(topics.LABELS)
_AREA = topics.recorded(topics.AREA)
_GRID = topics.recorded(topics.GRID)
_SCAN = topics.recorded(topics.SCAN)
_MAP = topics.recorded(topics.MAP)
_ODOMETRY = topics.recorded(topics.ODOMETRY)

_TYPES: Dict[str, str] = {
    _MASK: topics.IMAGE_TYPE,
    _OVERLAY: topics.COMPRESSED_TYPE,
    _INFO: topics.CAMERA_INFO_TYPE,
    _LABELS: topics.IMAGE_TYPE,
    _AREA: f'{PACKAGE}/msg/DrivableArea',
    _GRID: 'nav_msgs/msg/OccupancyGrid',
    _SCAN: 'sensor_msgs/msg/LaserScan',
    _MAP: 'nav_msgs/msg/OccupancyGrid',
    _ODOMETRY: topics.ODOMETRY_TYPE,
    topics.TF_STATIC: topics.TF_TYPE,
}

_JPEG_QUALITY = 80


class ResultBag:
    """Writes the results of each frame, under the frame's stamp and frame id; a context manager.

    A topic is created with its first message. The camera's images are not written: they are in the
    recording that was segmented.

    calibration, pose: of the camera; None if unknown.
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
        """Write one frame: its drivable area and scan, and all that its view has."""
        header = header_fields(frame.stamp, frame.frame_id)
        ground = header_fields(frame.stamp, self._vehicle_frame)
        self._write_mount(frame)
        messages = {
            _MASK: mono8_fields(header, view.labels),
            _AREA: {'header': header, **area_fields(area, 0.0, self._vehicle_frame)},
        }
        if view.overlay is not None:
            messages[_OVERLAY] = jpeg_fields(header, view.overlay, _JPEG_QUALITY)
        known = self._calibration
        if known is not None and (known.height, known.width) == (frame.height, frame.width):
            messages[_INFO] = {'header': header, **camera_info_fields(known)}
        if view.truth is not None:
            messages[_LABELS] = mono8_fields(header, view.truth)
        if view.grid is not None:
            messages[_GRID] = {'header': ground, **grid_fields(view.grid, frame.stamp)}
        if view.place is not None:
            odometry = header_fields(frame.stamp, topics.ODOMETRY)
            pose = odometry_fields(view.place, self._vehicle_frame)
            messages[_ODOMETRY] = {'header': odometry, **pose}
            if view.map is not None:
                messages[_MAP] = {'header': odometry, **grid_fields(view.map, frame.stamp)}
        if scan is not None:
            messages[_SCAN] = {'header': ground, **scan_fields(scan)}
        for topic, fields in messages.items():
            self._add_topic(topic)
            self._bag.write_fields(topic, fields, frame.stamp.ns)

    def _write_mount(self, frame: Frame) -> None:
        """Write the mount once; needs a frame id of the camera's own, for the TF tree."""
        named = frame.frame_id not in ('', self._vehicle_frame)
        if self._pose is None or topics.TF_STATIC in self._topics or not named:
            return
        message = mount_message(self._pose, self._vehicle_frame, frame.frame_id, frame.stamp.ns)
        self._add_topic(topics.TF_STATIC)
        self._bag.write_message(topics.TF_STATIC, message, frame.stamp.ns)

    def _add_topic(self, topic: str) -> None:
        if topic not in self._topics:
            self._topics.add(topic)
            self._bag.add_topic(topic, _TYPES[topic], latched=topic == topics.TF_STATIC)
