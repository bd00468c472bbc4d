"""Camera geometry: one camera's calibration and its pose over the ground, frame by frame."""

from __future__ import annotations

from time import monotonic
from typing import Any, Callable, NamedTuple, Optional, Tuple, Union

from sensor_msgs.msg import CameraInfo

from segformer_ros.camera import (
    Calibration,
    CameraError,
    CameraPose,
    calibration_from_camera_info,
    check_image_size,
    is_rectified,
    turned_note,
)
from segformer_ros.frame import Stamp
from segformer_ros.node.drivable_settings import mount_pose
from segformer_ros.node.parameters import DrivableSettings, MountSettings
from segformer_ros.node.transforms import (
    PoseError,
    TransformSource,
    look_up_ground,
    look_up_pose,
)

_LOOK_AGAIN = 10.0  # seconds until TF is asked again for a frame that may not be there at all


class Geometry(NamedTuple):
    """Calibration and pose for one frame, or neither and why in `reason`."""

    calibration: Optional[Calibration]
    pose: Optional[CameraPose]
    reason: str


class CameraGeometry:
    """Keeps the newest camera_info and looks up the pose at each frame's stamp.

    topic: of the images, as it is remapped: its name may say that they are rectified. warn: is
    told once of what makes all distances wrong without being wrong itself.
    """

    def __init__(
        self, transforms: Optional[TransformSource], topic: str, warn: Callable[[str], object]
    ) -> None:
        self._transforms = transforms
        self._rectified = is_rectified(topic)
        self._warn = warn
        self.info: Optional[CameraInfo] = None
        """The newest camera_info, None where none came yet."""
        self._read_of: Any = None
        self._read: Union[Calibration, CameraError, None] = None
        self._turned = False
        self._ground_of = ''
        self._ground_due = 0.0

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
            calibration = self._calibration(settings.rectified or self._rectified, size)
            pose = self._pose(settings, mount, frame_id, stamp)
            self._say_if_turned(pose)
            return Geometry(calibration, pose, '')
        except (CameraError, PoseError) as error:
            return Geometry(None, None, str(error))

    def _calibration(self, rectified: bool, size: Tuple[int, int]) -> Calibration:
        info = self.info
        if info is None:
            raise PoseError('no camera_info has come; let the camera driver publish it')
        # One comes with each image, and is nearly always the same but for its stamp.
        content = (rectified, _content(info))
        if content != self._read_of:
            try:
                self._read = calibration_from_camera_info(info, rectified)
            except CameraError as error:
                self._read = error
            self._read_of = content
        if not isinstance(self._read, Calibration):
            raise CameraError(str(self._read))
        check_image_size(self._read, *size)
        return self._read

    def _pose(
        self, settings: DrivableSettings, mount: MountSettings, frame_id: str, stamp: Stamp
    ) -> CameraPose:
        if settings.use_tf and self._transforms is not None:
            frame = settings.vehicle_frame
            pose = look_up_pose(self._transforms, frame, frame_id, stamp, settings.tf_timeout)
            self._check_ground(self._transforms, frame)
            return pose
        fixed = mount_pose(mount)
        if fixed is None:
            raise PoseError(
                "the camera's height over the ground is not known; give its mount as parameters "
                '(mount.height, mount.pitch, ...) or by TF'
            )
        return fixed

    def _say_if_turned(self, pose: CameraPose) -> None:
        """Warn once of a camera that is mounted upside down or on its side."""
        if pose.quarter_turns and not self._turned:
            self._turned = True
            self._warn(turned_note(pose))

    def _check_ground(self, transforms: TransformSource, vehicle_frame: str) -> None:
        """Warn once where the vehicle frame is not on the ground."""
        now = monotonic()
        if self._ground_of == vehicle_frame and now < self._ground_due:
            return
        self._ground_of, note = vehicle_frame, look_up_ground(transforms, vehicle_frame)
        self._ground_due = now + _LOOK_AGAIN if note is None else float('inf')
        if note:
            self._warn(f'{note} (drivable.vehicle_frame)')


def _content(info: CameraInfo) -> Tuple[Any, ...]:
    """All of a camera_info that a calibration is made of."""
    roi = info.roi
    return (
        (info.width, info.height, info.binning_x, info.binning_y, info.distortion_model),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
        bytes(info.d),
        bytes(info.k),
        bytes(info.p),
    )
