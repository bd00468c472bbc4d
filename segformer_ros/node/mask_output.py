"""Publishes one camera's masks and overlays, only those that somebody subscribes to."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Tuple

import numpy as np
from rclpy.lifecycle import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from segformer_ros import topics
from segformer_ros.classes import ClassMap
from segformer_ros.drawing.overlay import blend, draw_boundary
from segformer_ros.drivable import DrivableArea
from segformer_ros.engines.upsampling import resize_labels
from segformer_ros.frame import Frame
from segformer_ros.node.label_info import VisionMessages, label_info_message
from segformer_ros.node.messages import (
    ImageBuffer,
    camera_info_fits,
    jpeg_message,
    scaled_camera_info,
)
from segformer_ros.node.parameters import Settings
from segformer_ros.node.qos import LATCHED
from segformer_ros.segmentation import Segmentation

QUEUE = 5
"""Messages kept for a reliable subscriber that is behind."""


class MaskDemand(NamedTuple):
    """Which of the topics are subscribed to."""

    mask: bool
    confidence: bool
    overlay: bool
    compressed: bool
    info: bool

    @property
    def any_overlay(self) -> bool:
        """Whether an overlay must be drawn."""
        return self.overlay or self.compressed


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
        self._label_info: Any = None
        if vision:
            self._label_info = publisher(vision.label_info, topics.LABEL_INFO, LATCHED)
        self._mask_buffer = ImageBuffer('mono8')
        self._confidence_buffer = ImageBuffer('mono8')
        self._overlay_buffer = ImageBuffer('bgr8')

    @property
    def publishers(self) -> Tuple[Any, ...]:
        """The publishers, to be destroyed with the node's resources."""
        latched = (self._label_info,) if self._label_info else ()
        return (
            self._mask,
            self._confidence,
            self._overlay,
            self._compressed,
            self._camera_info,
            *latched,
        )

    @property
    def demand(self) -> MaskDemand:
        """Which topics are subscribed to now."""
        return MaskDemand(
            *(
                publisher.get_subscription_count() > 0
                for publisher in (
                    self._mask,
                    self._confidence,
                    self._overlay,
                    self._compressed,
                    self._camera_info,
                )
            )
        )

    def publish_label_info(self) -> None:
        """Latch the class names; done before the first mask."""
        if self._label_info and self._vision:
            header = Header(stamp=self._clock.now().to_msg())
            self._label_info.publish(label_info_message(self._vision, self._class_map, header))

    def publish(
        self,
        demand: MaskDemand,
        header: Header,
        frame: Frame,
        result: Segmentation,
        info: Optional[CameraInfo],
    ) -> None:
        """Publish mask, confidence and camera info, as far as wanted, under the frame's header."""
        labels = result.labels
        height, width = labels.shape
        if demand.info and info and camera_info_fits(info, frame.height, frame.width):
            self._camera_info.publish(scaled_camera_info(header, info, height, width))
        if demand.mask:
            self._mask.publish(self._mask_buffer.filled(labels, header))
        if demand.confidence and result.confidence is not None:
            self._confidence.publish(self._confidence_buffer.filled(result.confidence, header))

    def publish_overlay(
        self,
        demand: MaskDemand,
        header: Header,
        frame: Frame,
        result: Segmentation,
        area: Optional[DrivableArea],
        settings: Settings,
    ) -> None:
        """Publish the overlay, raw and compressed as wanted; with the boundary of an area."""
        pixels = self._overlay_buffer.resize(frame.height, frame.width)
        if result.overlay is not None:
            np.copyto(pixels, result.overlay)
        else:
            self._blend(frame, result.labels, settings.overlay_opacity, pixels)
        if area and settings.overlay_boundary:
            draw_boundary(pixels, area, self._class_map)
        if demand.overlay:
            self._overlay.publish(self._overlay_buffer.stamped(header))
        if demand.compressed:
            self._compressed.publish(jpeg_message(header, pixels, settings.jpeg_quality))

    def _blend(self, frame: Frame, labels: np.ndarray, opacity: float, pixels: np.ndarray) -> None:
        labels = resize_labels(labels, (frame.height, frame.width))
        blend(frame.bgr(), labels, self._palette, opacity, out=pixels)
