# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Calibration files: those of ROS's camera_calibration, of Kalibr, and a CameraInfo as text."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, FrozenSet, List, Mapping, Tuple

from segformer_ros.camera.calibration import Calibration, CalibrationError
from segformer_ros.camera.camera_info import calibration_from_camera_info
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
    """The calibration of a yaml file; `FILE#cam1` is one camera of a chain of Kalibr's.

    rectified: as of `calibration_from_camera_info`. Raises CalibrationError, which names the file.
    """
    file, camera = path, ''
    if '#' in path.name and not path.exists():
        name, _, camera = path.name.rpartition('#')
        file = path.with_name(name)
    try:
        # `ros2 topic echo` ends each message with a line of its own.
        document = parse_yaml(read_text(file).partition('\n---')[0])
        return calibration_from_camera_info(_camera_info(document, camera), rectified)
    except (OSError, DocumentError, CalibrationError) as error:
        raise CalibrationError(f'calibration {file}: {reason(error)}') from error


def _camera_info(document: Any, camera: str) -> SimpleNamespace:
    """What a file says as a CameraInfo has it; raises DocumentError and CalibrationError."""
    if not isinstance(document, dict):
        raise CalibrationError('it holds no names and values; ' + _WANTED)
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
    """One camera of Kalibr's chain, the only one or that which is named."""
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
"""By the names that a file has."""
