"""Camera geometry: one camera's calibration and its pose over the ground, frame by frame."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from sensor_msgs.msg import CameraInfo

from segformer_ros.camera import (
    Calibration,
    CameraError,
    CameraPose,
    calibration_from_camera_info,
    check_image_size,
)
from segformer_ros.frame import Stamp
from segformer_ros.node.drivable_settings import mount_pose
from segformer_ros.node.parameters import DrivableSettings, MountSettings
from segformer_ros.node.transforms import PoseError, TransformSource, look_up_pose


class Geometry(NamedTuple):
    """Calibration and pose for one frame, or neither and why in `reason`."""

    calibration: Optional[Calibration]
    pose: Optional[CameraPose]
    reason: str


class CameraGeometry:
    """Keeps the newest camera_info and looks up the pose at each frame's stamp."""

    def __init__(self, transforms: Optional[TransformSource]) -> None:
        self._transforms = transforms
        self.info: Optional[CameraInfo] = None
        """The newest camera_info, None where none came yet."""

    def at(
        self,
        settings: DrivableSettings,
        mount: MountSettings,
        size: Tuple[int, int],
        frame_id: str,
        stamp: Stamp,
    ) -> Geometry:
        """Geometry of an image of (height, width); never a guess where something is missing."""
        try:
            calibration = self._calibration(settings.rectified, size)
            return Geometry(calibration, self._pose(settings, mount, frame_id, stamp), '')
        except (CameraError, PoseError) as error:
            return Geometry(None, None, str(error))

    def _calibration(self, rectified: bool, size: Tuple[int, int]) -> Calibration:
        if self.info is None:
            raise PoseError('no camera_info has come; let the camera driver publish it')
        calibration = calibration_from_camera_info(self.info, rectified)
        check_image_size(calibration, *size)
        return calibration

    def _pose(
        self, settings: DrivableSettings, mount: MountSettings, frame_id: str, stamp: Stamp
    ) -> CameraPose:
        if settings.use_tf and self._transforms is not None:
            return look_up_pose(
                self._transforms, settings.vehicle_frame, frame_id, stamp, settings.tf_timeout
            )
        pose = mount_pose(mount)
        if pose is None:
            raise PoseError(
                "the camera's height over the ground is not known; give its mount as parameters "
                '(mount.height, mount.pitch, ...) or by TF'
            )
        return pose
