# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Publishes one camera's masks, points and overlays, only those that have subscribers."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Dict, Optional, Tuple

import numpy as np
from rclpy.lifecycle import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from segformer_ros import topics
from segformer_ros.classes import ClassMap
from segformer_ros.drawing.overlay import blend, draw_boundary
from segformer_ros.drivable import DrivableArea
from segformer_ros.engines.upsampling import resize_labels
from segformer_ros.frame import Segmentation
from segformer_ros.node.messages import (
    LATCHED,
    CloudBuffer,
    ImageBuffer,
    VisionMessages,
    jpeg_message,
    label_info_message,
    video_class,
    video_message,
)
from segformer_ros.node.segmentation.frame_task import FrameTask
from segformer_ros.recordings.source import RecordingError
from segformer_ros.recordings.video_writer import VideoEncoder

QUEUE = 5
"""Messages kept for a slow reliable subscriber."""


class MaskOutput:
    """The topics segmentation/... of one camera; the worker calls `publish...`."""

    def __init__(
        self, node: Node, prefix: str, class_map: ClassMap, vision: Optional[VisionMessages]
    ) -> None:
        self._clock = node.get_clock()
        self._class_map = class_map
        self._palette = class_map.palette_bgr
        self._vision = vision

        def publisher(message_type: Any, name: str, qos: Any = QUEUE) -> Any:
            return node.create_lifecycle_publisher(message_type, f'{prefix}{name}', qos)

        self._mask = publisher(Image, topics.MASK)
        self._confidence = publisher(Image, topics.CONFIDENCE)
        self._overlay = publisher(Image, topics.OVERLAY)
        self._compressed = publisher(CompressedImage, topics.COMPRESSED_OVERLAY)
        self._camera_info = publisher(CameraInfo, topics.MASK_CAMERA_INFO)
        self._points = publisher(PointCloud2, topics.POINTS)
        self.streamed = (
            self._mask,
            self._confidence,
            self._overlay,
            self._compressed,
            self._camera_info,
            self._points,
        )
        """Publishers of messages for each frame, in the order of `Demand`."""
        self.publishers: Tuple[Any, ...] = self.streamed
        """All publishers, for the node to destroy."""
        self._label_info: Any = None
        if vision:
            self._label_info = publisher(vision.label_info, topics.LABEL_INFO, LATCHED)
            self.publishers = (*self.streamed, self._label_info)
        self.video, self._encoder = self._find_video(node, prefix)
        """Publisher of the overlay as a video; None if its message type or encoder is missing."""
        self._mask_buffer = ImageBuffer('mono8')
        self._confidence_buffer = ImageBuffer('mono8')
        self._overlay_buffer = ImageBuffer('bgr8')
        self._cloud_buffer = CloudBuffer()

    def _find_video(self, node: Node, prefix: str) -> Tuple[Any, Optional[VideoEncoder]]:
        """Publisher and encoder of the overlay as a video; None if something is not installed."""
        message_type = video_class()
        if message_type is None:
            return None, None
        try:
            encoder = VideoEncoder()
        except RecordingError as error:
            node.get_logger().info(f'{topics.OVERLAY_VIDEO} is not published: {error}')
            return None, None
        publisher = node.create_lifecycle_publisher(
            message_type, f'{prefix}{topics.OVERLAY_VIDEO}', QUEUE
        )
        self.publishers = (*self.publishers, publisher)
        return publisher, encoder

    def publish_label_info(self) -> None:
        """Latch the class names, before the first mask."""
        if self._label_info and self._vision:
            header = Header(stamp=self._clock.now().to_msg())
            self._label_info.publish(label_info_message(self._vision, self._class_map, header))

    def publish(self, task: FrameTask, result: Segmentation, costs: Dict[str, float]) -> None:
        """Publish mask, confidence and camera info, those in demand, with the frame's header.

        costs: takes the seconds of each output.
        """
        demand, header, info = task.demand, task.header, task.camera_info
        if demand.camera_info and info and info.size == task.frame.size[::-1]:
            self._camera_info.publish(info.resized(header, *result.labels.shape))
        start = perf_counter()
        if demand.mask:
            self._mask.publish(self._mask_buffer.filled(result.labels, header))
            costs['mask'] = perf_counter() - start
        if demand.confidence and result.confidence is not None:
            start = perf_counter()
            self._confidence.publish(self._confidence_buffer.filled(result.confidence, header))
            costs['confidence'] = perf_counter() - start

    def publish_points(self, task: FrameTask, points: np.ndarray) -> None:
        """Publish the ground points of the mask's pixels, (H, W, 3) float32, vehicle frame."""
        frame_id = task.settings.drivable.vehicle_frame
        header = Header(stamp=task.header.stamp, frame_id=frame_id)
        self._points.publish(self._cloud_buffer.filled(points, header))

    def publish_overlay(
        self,
        task: FrameTask,
        result: Segmentation,
        area: Optional[DrivableArea],
        costs: Dict[str, float],
    ) -> None:
        """Publish the overlay in all forms in demand; with the boundary, if an area is given."""
        demand, settings, frame = task.demand, task.settings, task.frame
        start = perf_counter()
        pixels = self._overlay_buffer.resize(*frame.size)
        if result.overlay is not None:
            np.copyto(pixels, result.overlay)
        else:
            labels = resize_labels(result.labels, frame.size)
            blend(frame.bgr(), labels, self._palette, settings.overlay_opacity, out=pixels)
        if area and settings.overlay_boundary:
            draw_boundary(pixels, area, self._class_map)
        drawn = perf_counter()
        costs['overlay, drawing'] = drawn - start
        if demand.overlay:
            self._overlay.publish(self._overlay_buffer.stamped(task.header))
            costs['overlay'] = perf_counter() - drawn
        if demand.compressed_overlay:
            start = perf_counter()
            message = jpeg_message(task.header, pixels, settings.jpeg_quality)
            self._compressed.publish(message)
            costs['overlay/compressed'] = perf_counter() - start
        if demand.overlay_video and self._encoder:
            start = perf_counter()
            data = self._encoder.encode(pixels, frame.stamp.ns)
            self.video.publish(video_message(task.header, data))
            costs['overlay/video'] = perf_counter() - start
