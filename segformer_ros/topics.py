"""Names of the topics and of their types, as nodes and recordings have them; needs no ROS."""

from __future__ import annotations

IMAGE = 'image'
COMPRESSED_IMAGE = 'image/compressed'
CAMERA_INFO = 'camera_info'
IMU = 'imu'
LABELS = 'labels'
COMPRESSED_LABELS = 'labels/compressed'

MASK = 'segmentation/mask'
CONFIDENCE = 'segmentation/confidence'
OVERLAY = 'segmentation/overlay'
COMPRESSED_OVERLAY = 'segmentation/overlay/compressed'
OVERLAY_VIDEO = 'segmentation/overlay/video'
MASK_CAMERA_INFO = 'segmentation/camera_info'
LABEL_INFO = 'segmentation/label_info'
POINTS = 'segmentation/points'

AREA = 'drivable_area'
GRID = 'drivable_area/grid'
SCAN = 'drivable_area/scan'
MAP = 'drivable_area/map'

ODOMETRY = 'odom'

REPORT = 'replay/report'
DIAGNOSTICS = '/diagnostics'
TF_STATIC = '/tf_static'
TF = '/tf'

IMAGE_TYPE = 'sensor_msgs/msg/Image'
COMPRESSED_TYPE = 'sensor_msgs/msg/CompressedImage'
VIDEO_TYPE = 'foxglove_msgs/msg/CompressedVideo'
FFMPEG_TYPE = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
VIDEO_TYPES = {'CompressedVideo': VIDEO_TYPE, 'FFMPEGPacket': FFMPEG_TYPE}
"""By the name without its package."""
CAMERA_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
ODOMETRY_TYPE = 'nav_msgs/msg/Odometry'
TF_TYPE = 'tf2_msgs/msg/TFMessage'


def recorded(topic: str) -> str:
    """A topic's name in recordings: that of nodes without a namespace."""
    return f'/{topic.lstrip("/")}'
