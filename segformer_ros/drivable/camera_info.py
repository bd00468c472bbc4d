"""Calibration and pose from ROS messages, duck-typed: no ROS is needed to read them."""

from __future__ import annotations

import math
from typing import Any, Dict, Sequence, Tuple

import numpy as np

from segformer_ros.camera import Calibration, CameraError, CameraPose

#: Names that drivers use for the distortion models of Calibration.
_MODEL_NAMES: Dict[str, str] = {
    'plumb_bob': 'plumb_bob',
    'rational_polynomial': 'rational_polynomial',
    'equidistant': 'equidistant',
    'fisheye': 'equidistant',
    'none': 'none',
    '': 'none',
}

# Body axes (forward, left, up) of the optical axes (right, down, forward), as in CameraPose.
_BODY_FROM_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


class CalibrationError(CameraError):
    """A CameraInfo or transform that cannot serve this image."""


def calibration_from_camera_info(info: Any, rectified: bool = False) -> Calibration:
    """Calibration of the images that a sensor_msgs/CameraInfo belongs to.

    K, D and P of the message describe the full sensor; its ROI and binning tell which pixels the
    image has. Borders are kept: the first pixel's centre of a 2x2-binned image lies between the
    sensor's pixels 0 and 1. `rectified`: the images are rectified already, so P counts and the
    distortion does not.

    Raises CalibrationError for an uncalibrated camera (K all zero), for NaN, for an unknown
    distortion model and for an ROI outside the sensor.
    """
    matrix = _matrix(info, rectified)
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    model, distortion = ('none', ()) if rectified else _distortion(info)
    left, top, width, height = _region(info)
    bin_x, bin_y = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
    try:
        return Calibration(
            width // bin_x,
            height // bin_y,
            fx / bin_x,
            fy / bin_y,
            (cx - left + 0.5) / bin_x - 0.5,
            (cy - top + 0.5) / bin_y - 0.5,
            model,
            distortion,
        )
    except CameraError as error:
        raise CalibrationError(f'camera info: {error}') from error


def camera_info_fields(calibration: Calibration) -> Dict[str, Any]:
    """What sensor_msgs/CameraInfo holds of a calibration, but for its header.

    By the names of its fields, `roi` as a mapping; for images that are not rectified.
    """
    model, distortion = calibration.model, calibration.distortion
    if model == 'none':
        # sensor_msgs has no name for it; viewers expect the usual model with no distortion.
        model, distortion = 'plumb_bob', (0.0,) * 5
    matrix = calibration.matrix
    return {
        'height': calibration.height,
        'width': calibration.width,
        'distortion_model': model,
        'd': np.array(distortion, np.float64),
        'k': matrix.ravel(),
        'r': np.eye(3).ravel(),
        'p': np.hstack([matrix, np.zeros((3, 1))]).ravel(),
        'binning_x': 0,
        'binning_y': 0,
        'roi': {'x_offset': 0, 'y_offset': 0, 'height': 0, 'width': 0, 'do_rectify': False},
    }


def check_image_size(calibration: Calibration, height: int, width: int) -> None:
    """Raise CalibrationError unless the calibration is for images of this size."""
    if (calibration.width, calibration.height) != (width, height):
        raise CalibrationError(
            f'camera info is for {calibration.width}x{calibration.height} images, but the image '
            f'is {width}x{height}: calibrate at this size, or let the driver publish the camera '
            'info that belongs to its images (binning and ROI included)'
        )


def pose_from_transform(translation: Sequence[float], quaternion: Sequence[float]) -> CameraPose:
    """Camera pose from the transform of its optical frame in the vehicle's base frame.

    translation: x, y, z in metres; quaternion: x, y, z, w (as geometry_msgs/Transform). The base
    frame stands on the ground with x forward, y left, z up (REP-103); z is the camera's height.

    Raises CalibrationError for values that are no transform or a camera that is not above ground.
    """
    x, y, height = (float(value) for value in translation)
    rotation = _rotation(quaternion) @ _BODY_FROM_OPTICAL.T
    try:
        return CameraPose(
            height=height,
            pitch=math.asin(max(-1.0, min(1.0, -rotation[2, 0]))),
            roll=math.atan2(rotation[2, 1], rotation[2, 2]),
            yaw=math.atan2(rotation[1, 0], rotation[0, 0]),
            x=x,
            y=y,
        )
    except CameraError as error:
        raise CalibrationError(f'transform of the camera: {error}') from error


def _matrix(info: Any, rectified: bool) -> np.ndarray:
    name, values = (
        ('P', np.asarray(info.p, np.float64).reshape(3, 4)[:, :3])
        if rectified
        else ('K', np.asarray(info.k, np.float64).reshape(3, 3))
    )
    if not values.any():
        raise CalibrationError(
            f'camera info has {name} all zero: the camera is not calibrated; '
            'run camera_calibration, or give the driver its calibration file'
        )
    if not np.isfinite(values).all():
        raise CalibrationError(
            f'camera info has {name} = {values.ravel().tolist()}, '
            'which is not finite: the calibration file is broken'
        )
    if values[0, 1] != 0:
        raise CalibrationError(
            f'camera info has a skew of {values[0, 1]} in {name}: '
            'cameras with skewed pixels are not supported'
        )
    return values


def _distortion(info: Any) -> Tuple[str, Tuple[float, ...]]:
    coefficients = tuple(float(value) for value in info.d)
    named = str(info.distortion_model)
    model = _MODEL_NAMES.get(named)
    if model is None or (named == '' and any(coefficients)):
        raise CalibrationError(
            f"camera info has distortion model '{named}', which is not known: use "
            'plumb_bob, rational_polynomial, equidistant or none'
        )
    if model == 'none' or not (coefficients or model == 'equidistant'):
        return 'none', ()
    return model, coefficients


def _region(info: Any) -> Tuple[int, int, int, int]:
    """Left, top, width and height of the image's part of the sensor, in sensor pixels."""
    roi = info.roi
    if roi.width == 0 and roi.height == 0:
        return 0, 0, int(info.width), int(info.height)
    if roi.x_offset + roi.width > info.width or roi.y_offset + roi.height > info.height:
        raise CalibrationError(
            f'camera info has an ROI of {roi.width}x{roi.height} at ({roi.x_offset}, '
            f'{roi.y_offset}), outside its sensor of {info.width}x{info.height}'
        )
    return int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)


def _rotation(quaternion: Sequence[float]) -> np.ndarray:
    """Rotation matrix (3, 3) of a quaternion x, y, z, w of about unit length."""
    x, y, z, w = (float(value) for value in quaternion)
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not abs(norm - 1) < 0.01:
        raise CalibrationError(
            f'transform of the camera has the quaternion {(x, y, z, w)}, whose '
            f'length is {norm:.3g} and not 1'
        )
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
