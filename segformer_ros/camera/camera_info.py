# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Calibration from sensor_msgs/CameraInfo (duck-typed: no ROS is needed), and from files.

Files are those of ROS's camera_calibration, of Kalibr, and a CameraInfo as text.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Tuple

import numpy as np

from segformer_ros.camera.calibration import (
    DISTORTION_MODELS,
    Calibration,
    CalibrationError,
    CameraError,
)
from segformer_ros.documents import (
    DocumentError,
    items,
    number,
    parse_yaml,
    read_text,
    record,
    text,
    whole,
)
from segformer_ros.errors import reason

#: Names that drivers use for the distortion models of Calibration.
_MODEL_NAMES: Dict[str, str] = {
    'plumb_bob': 'plumb_bob',
    'rational_polynomial': 'rational_polynomial',
    'equidistant': 'equidistant',
    'fisheye': 'equidistant',
    'kannala_brandt4': 'equidistant',
    'none': 'none',
    '': 'none',
}
# As a word of a name: image_rect, image_rect_color, image_color_rect, rect/image, rectified.
_RECTIFIED = re.compile(r'(^|_)rect(ified)?(_|$)')
_TRANSPORTS = ('compressed', 'theora', 'ffmpeg', 'zstd', 'draco', 'cloudini')


def is_rectified(image_topic: str) -> bool:
    """Tell by the name of an image topic whether its images are rectified.

    image_proc, stereo_image_proc and drivers that rectify name them so. The camera_info published
    beside them is often that of the raw image, whose distortion no longer applies.
    """
    parts = image_topic.strip('/').split('/')
    if parts[-1] in _TRANSPORTS:
        parts.pop()
    return any(_RECTIFIED.search(part) for part in parts[-2:])


def calibration_from_camera_info(info: Any, rectified: bool = False) -> Calibration:
    """Calibration of the images that a sensor_msgs/CameraInfo belongs to.

    K, D and P of the message describe the full sensor; its ROI and binning tell which pixels the
    image has. Borders are kept: the centre of a 2x2-binned image's first pixel lies between the
    sensor's pixels 0 and 1. `rectified`: the images are already rectified, so P applies and the
    distortion does not.

    Raises CalibrationError for an uncalibrated camera (K all zero), for NaN, for an unknown
    distortion model, for an ROI outside the sensor, and for numbers that no lens has.
    """
    model, distortion = ('none', ()) if rectified else _distortion(info)
    width, height = image_size(info)
    change = _to_image(info)
    matrix = _matrix(info, rectified)
    try:
        return Calibration(
            width,
            height,
            float(matrix[0, 0] * change[0, 0]),
            float(matrix[1, 1] * change[1, 1]),
            float(matrix[0, 2] * change[0, 0] + change[0, 2]),
            float(matrix[1, 2] * change[1, 1] + change[1, 2]),
            model,
            distortion,
        )
    except CameraError as error:
        raise CalibrationError(f'camera info: {error}') from error


def image_size(info: Any) -> Tuple[int, int]:
    """Width and height of the images that a CameraInfo belongs to, pixels."""
    _, _, width, height = _region(info)
    bin_x, bin_y = _binning(info)
    return width // bin_x, height // bin_y


def resized_matrices(info: Any, width: int, height: int) -> Tuple[np.ndarray, np.ndarray]:
    """K (3, 3) and P (3, 4) float64 of a CameraInfo's images once they are resized.

    They include ROI and binning. Image borders are kept, so pixel centres move:
    u' + 0.5 = (u + 0.5) * scale.
    """
    wide, high = image_size(info)
    scale = _scaling(width / wide, height / high)
    change = scale @ _to_image(info)
    k = np.asarray(info.k, np.float64).reshape(3, 3)
    p = np.asarray(info.p, np.float64).reshape(3, 4)
    return change @ k, change @ p


def camera_info_fields(calibration: Calibration) -> Dict[str, Any]:
    """Fields of the sensor_msgs/CameraInfo of a calibration, without its header.

    `roi` is a mapping. For images that are not rectified.
    """
    model, distortion = calibration.model, calibration.distortion
    if model == 'none':
        # sensor_msgs has no name for this; viewers expect the usual model, with zeros.
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
            f'the calibration is for {calibration.width}x{calibration.height} images, but the '
            f'image is {width}x{height}: calibrate at this size; camera info from a driver must '
            'belong to its images (binning and ROI included)'
        )


def _to_image(info: Any) -> np.ndarray:
    """Map (3, 3) from pixels of the sensor to those of the image: cut out, then binned."""
    left, top, _, _ = _region(info)
    bin_x, bin_y = _binning(info)
    cut = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
    change: np.ndarray = _scaling(1 / bin_x, 1 / bin_y) @ cut
    return change


def _scaling(x: float, y: float) -> np.ndarray:
    """Map (3, 3) of pixel centres when an image is resized by x and y and keeps its borders."""
    return np.array([[x, 0.0, 0.5 * x - 0.5], [0.0, y, 0.5 * y - 0.5], [0.0, 0.0, 1.0]])


def _binning(info: Any) -> Tuple[int, int]:
    return max(int(info.binning_x), 1), max(int(info.binning_y), 1)


def _matrix(info: Any, rectified: bool) -> np.ndarray:
    """K, or the left part of P, (3, 3) float64, checked."""
    name, values = 'K', np.asarray(info.k, np.float64).reshape(3, 3)
    projection = np.asarray(info.p, np.float64).reshape(3, 4)[:, :3]
    # A camera that rectifies in its driver may leave P empty: it would equal K.
    if rectified and (projection.any() or any(info.d)):
        name, values = 'P', projection
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
    if values[2].tolist() not in ([0, 0, 1], [0, 0, 0]) or values[1, 0] != 0:
        raise CalibrationError(
            f'camera info has {name} = {values.ravel().tolist()}, which is not a camera matrix: '
            f'its last row is 0 0 1; the calibration file is broken'
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
    if model is None or (model == 'none' and any(coefficients)):
        raise CalibrationError(
            f"camera info has distortion model '{named}', which is not known"
            + (f' to have coefficients ({len(coefficients)} are given)' if model else '')
            + ': use plumb_bob, rational_polynomial, equidistant or none'
        )
    if model == 'none' or not (coefficients or model == 'equidistant'):
        return 'none', ()
    if model == 'plumb_bob' and len(coefficients) in DISTORTION_MODELS['rational_polynomial']:
        model = 'rational_polynomial'  # some drivers call it plumb_bob; the count tells
    return model, coefficients


def _region(info: Any) -> Tuple[int, int, int, int]:
    """Left, top, width and height of the image's region of interest, in sensor pixels."""
    roi = info.roi
    if roi.width == 0 and roi.height == 0:
        return 0, 0, int(info.width), int(info.height)
    if roi.x_offset + roi.width > info.width or roi.y_offset + roi.height > info.height:
        raise CalibrationError(
            f'camera info has an ROI of {roi.width}x{roi.height} at ({roi.x_offset}, '
            f'{roi.y_offset}), outside its sensor of {info.width}x{info.height}'
        )
    return int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)


_SIDE = whole(1, 1 << 20)
_NUMBERS = items(number(), most=64)
_MATRIX = record({'data': _NUMBERS}, needed=frozenset(('data',)))

_ROS = record(
    {
        'image_width': _SIDE,
        'image_height': _SIDE,
        'distortion_model': text(least=0),
        'camera_matrix': _MATRIX,
        'distortion_coefficients': _MATRIX,
        'projection_matrix': _MATRIX,
    },
    needed=frozenset(('image_width', 'image_height', 'camera_matrix')),
)
_MESSAGE = record(
    {
        'width': _SIDE,
        'height': _SIDE,
        'distortion_model': text(least=0),
        'd': _NUMBERS,
        'k': items(number(), least=9, most=9),
        'p': _NUMBERS,
        'binning_x': whole(0, 64),
        'binning_y': whole(0, 64),
        'roi': record(
            {name: whole(0, 1 << 20) for name in ('x_offset', 'y_offset', 'width', 'height')}
        ),
    },
    needed=frozenset(('width', 'height', 'k')),
)
_KALIBR = record(
    {
        'camera_model': text(),
        'intrinsics': _NUMBERS,
        'distortion_model': text(),
        'distortion_coeffs': _NUMBERS,
        'resolution': items(_SIDE, least=2, most=2),
    },
    needed=frozenset(('camera_model', 'intrinsics', 'distortion_model', 'resolution')),
)
_KALIBR_LENSES = {'radtan': 'plumb_bob', 'equidistant': 'equidistant', 'none': 'none'}
"""Kalibr's distortion models, as ROS names them."""
_NO_REGION = {'x_offset': 0, 'y_offset': 0, 'width': 0, 'height': 0}


def read_calibration(path: Path, rectified: bool = False) -> Calibration:
    """Calibration from a yaml file; `FILE#cam1` is one camera of a Kalibr camera chain.

    rectified: as in `calibration_from_camera_info`. Raises CalibrationError, which names the file.
    """
    file, camera = path, ''
    if '#' in path.name and not path.exists():
        name, _, camera = path.name.rpartition('#')
        file = path.with_name(name)
    try:
        # `ros2 topic echo` ends each message with a line '---': take the first one.
        document = parse_yaml(read_text(file).partition('\n---')[0])
        return calibration_from_camera_info(_camera_info(document, camera), rectified)
    except (OSError, DocumentError, CalibrationError) as error:
        raise CalibrationError(f'calibration {file}: {reason(error)}') from error


def _camera_info(document: Any, camera: str) -> SimpleNamespace:
    """The content of a file as a CameraInfo; raises DocumentError and CalibrationError."""
    if not isinstance(document, dict):
        raise CalibrationError('it is not a mapping of names to values; ' + _WANTED)
    for needed, read in _KINDS:
        if needed <= set(document):
            return read(document)
    return _of_chain(document, camera)


def _of_ros(document: Mapping[str, Any]) -> SimpleNamespace:
    found = _ROS(dict(document))
    matrix = found['camera_matrix']['data']
    if len(matrix) != 9:
        raise CalibrationError(f'camera_matrix has {len(matrix)} numbers, not 9')
    lens = found.get('distortion_coefficients', {'data': ()})['data']
    projection = found.get('projection_matrix', {'data': ()})['data']
    model = found.get('distortion_model', 'plumb_bob')
    size = found['image_width'], found['image_height']
    return _info(size, model, lens, matrix, projection)


def _of_message(document: Mapping[str, Any]) -> SimpleNamespace:
    found = _MESSAGE(dict(document))
    model = found.get('distortion_model', '')
    info = _info(
        (found['width'], found['height']),
        model,
        found.get('d', ()),
        found['k'],
        found.get('p', ()),
    )
    info.binning_x, info.binning_y = found.get('binning_x', 0), found.get('binning_y', 0)
    info.roi = SimpleNamespace(**{**_NO_REGION, **found.get('roi', {})})
    return info


def _of_kalibr(document: Mapping[str, Any]) -> SimpleNamespace:
    found = _KALIBR(dict(document))
    model, lens = found['camera_model'], found['distortion_model']
    if model != 'pinhole' or lens not in _KALIBR_LENSES:
        raise CalibrationError(
            f"the camera model '{model}' with the distortion model '{lens}' is not read: "
            'calibrate with pinhole-radtan or pinhole-equi'
        )
    if len(found['intrinsics']) != 4:
        raise CalibrationError(f'intrinsics has {len(found["intrinsics"])} numbers, not 4')
    fx, fy, cx, cy = found['intrinsics']
    width, height = found['resolution']
    matrix = (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
    coefficients = found.get('distortion_coeffs', ())
    return _info((width, height), _KALIBR_LENSES[lens], coefficients, matrix, ())


def _of_chain(document: Mapping[str, Any], camera: str) -> SimpleNamespace:
    """One camera of a Kalibr chain: the named one, or the only one."""
    cameras: List[str] = [
        str(name)
        for name, value in document.items()
        if isinstance(value, dict) and set(value) >= {'intrinsics', 'camera_model'}
    ]
    if not cameras:
        raise CalibrationError(f'it has {", ".join(map(str, list(document)[:8]))}; ' + _WANTED)
    if not camera and len(cameras) > 1:
        raise CalibrationError(
            f'it has the cameras {", ".join(cameras)}; name one, as in FILE#{cameras[0]}'
        )
    chosen = camera or cameras[0]
    if chosen not in cameras:
        raise CalibrationError(f"it has no camera '{chosen}', but {', '.join(cameras)}")
    return _of_kalibr(document[chosen])


def _info(
    size: Tuple[int, int],
    model: str,
    lens: Tuple[float, ...],
    matrix: Tuple[float, ...],
    projection: Tuple[float, ...],
) -> SimpleNamespace:
    """A CameraInfo without ROI and binning."""
    return SimpleNamespace(
        width=size[0],
        height=size[1],
        distortion_model=model,
        d=lens,
        k=matrix,
        p=projection if len(projection) == 12 else (0.0,) * 12,
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(**_NO_REGION),
    )


_WANTED = (
    "give a yaml of ROS's camera_calibration (camera_matrix), of Kalibr (intrinsics) or of a "
    'CameraInfo (k)'
)
_Reading = Callable[[Mapping[str, Any]], SimpleNamespace]
_KINDS: Tuple[Tuple[FrozenSet[str], _Reading], ...] = (
    (frozenset(('camera_matrix',)), _of_ros),
    (frozenset(('k', 'width')), _of_message),
    (frozenset(('intrinsics', 'camera_model')), _of_kalibr),
)
"""How to read a file, by the names that it must have."""
