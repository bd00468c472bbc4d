# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A calibrated camera over flat ground: its rays, its mount, and both from ROS messages."""

from segformer_ros.camera.calibration import (
    Calibration,
    CalibrationError,
    CameraError,
    RayTable,
    Turn,
)
from segformer_ros.camera.camera_info import (
    calibration_from_camera_info,
    camera_info_fields,
    check_image_size,
    image_size,
    is_rectified,
    read_calibration,
    resized_matrices,
)
from segformer_ros.camera.ego_motion import EgoMotion, EgoMotionTracker, StaticClasses
from segformer_ros.camera.mount_estimation import (
    Measured,
    MotionError,
    MountCheck,
    MountEstimate,
    estimate_mount,
    relative_to,
)
from segformer_ros.camera.pose import (
    BodySwing,
    Camera,
    CameraPose,
    Tilt,
    footprint_note,
    footprint_of,
    matrix_of,
    pose_from_transform,
    swung,
    turned_note,
)

__all__ = [
    'BodySwing',
    'Calibration',
    'CalibrationError',
    'Camera',
    'CameraError',
    'CameraPose',
    'EgoMotion',
    'EgoMotionTracker',
    'Measured',
    'MotionError',
    'MountCheck',
    'MountEstimate',
    'RayTable',
    'StaticClasses',
    'Tilt',
    'Turn',
    'calibration_from_camera_info',
    'camera_info_fields',
    'check_image_size',
    'estimate_mount',
    'footprint_note',
    'footprint_of',
    'image_size',
    'is_rectified',
    'matrix_of',
    'pose_from_transform',
    'read_calibration',
    'relative_to',
    'resized_matrices',
    'swung',
    'turned_note',
]
