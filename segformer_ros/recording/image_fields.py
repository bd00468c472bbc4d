"""What image messages hold, as fields for BagWriter.write_fields."""

from __future__ import annotations

from typing import Any, Dict

import cv2
import numpy as np

from segformer_ros.frame import Stamp

IMAGE_TYPE = 'sensor_msgs/msg/Image'
COMPRESSED_TYPE = 'sensor_msgs/msg/CompressedImage'


def header_fields(stamp: Stamp, frame_id: str) -> Dict[str, Any]:
    """Fields of std_msgs/Header."""
    return {'stamp': stamp._asdict(), 'frame_id': frame_id}


def mono8_fields(header: Dict[str, Any], pixels: np.ndarray) -> Dict[str, Any]:
    """Fields of sensor_msgs/Image of (H, W) uint8."""
    height, width = pixels.shape
    return {
        'header': header,
        'height': height,
        'width': width,
        'encoding': 'mono8',
        'is_bigendian': 0,
        'step': width,
        'data': np.ascontiguousarray(pixels).ravel(),
    }


def jpeg_fields(header: Dict[str, Any], pixels: np.ndarray, quality: int) -> Dict[str, Any]:
    """Fields of sensor_msgs/CompressedImage of (H, W, 3) uint8 BGR, as a JPEG."""
    _, data = cv2.imencode('.jpg', pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return {'header': header, 'format': 'bgr8; jpeg compressed bgr8', 'data': data.ravel()}
