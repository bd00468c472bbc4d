# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

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
