# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Calibration: the rays that a camera's pixels look along, and a table of them for the ground.

Pixel ``(u, v)`` with integer coordinates is the *centre* of a pixel, as in ROS and OpenCV:
an image covers ``-0.5 .. width - 0.5``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Dict, NamedTuple, Tuple

import cv2
import numpy as np

from segformer_ros.errors import SegformerError

#: Distortion models of sensor_msgs/CameraInfo and how many coefficients each may have.
DISTORTION_MODELS: Dict[str, Tuple[int, ...]] = {
    'none': (0,),
    'plumb_bob': (0, 4, 5),
    'rational_polynomial': (8, 12, 14),
    'equidistant': (4,),
}

_REPROJECTION_TOLERANCE = 0.01  # pixels by which a ray may miss the pixel that it was found for
_MAX_FOV = math.radians(179.0)
_FOCAL_LENGTHS = (1e-3, 1e3)  # in sides of the image: fields of view from 0.06 to 179.8 degrees
_MAX_OFF_AXIS = 100.0  # focal lengths from the image's middle to the principal point
_MAX_COEFFICIENT = 1e6  # rational models of narrow views have thousands
_ROTATIONS = (-1, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
_COLUMNS_PER_STRIDE, _MAX_STRIDE = 320, 4  # pixels between rays that are undistorted
_REFINEMENT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-12)


class CameraError(SegformerError, ValueError):
    """A calibration or pose that no real camera has."""


class CalibrationError(CameraError):
    """A CameraInfo or transform that cannot be used for this image."""


@dataclass(frozen=True)
class Calibration:
    """Intrinsics of one camera at one image size, with the names of sensor_msgs/CameraInfo.

    ``fx, fy, cx, cy`` are in pixels. ``distortion`` has OpenCV's order of coefficients:
    k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]], or k1 k2 k3 k4 for 'equidistant'.

    Raises CameraError for values that no real camera has.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = 'none'
    distortion: Tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, 'distortion', tuple(float(k) for k in self.distortion))
        if self.width < 1 or self.height < 1:
            raise CameraError(
                f'image size {self.width}x{self.height} is empty: '
                'give the width and height of the calibrated image'
            )
        for name in ('fx', 'fy'):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise CameraError(
                    f'focal length {name}={value} is not a positive number of '
                    'pixels: the camera is not calibrated'
                )
        for name in ('cx', 'cy'):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise CameraError(
                    f'principal point {name}={value} is not a number of pixels: '
                    'the camera is not calibrated'
                )
        self._check_view()
        counts = DISTORTION_MODELS.get(self.model)
        if counts is None:
            raise CameraError(
                f"distortion model '{self.model}' is not known: use one of "
                + ', '.join(DISTORTION_MODELS)
            )
        if len(self.distortion) not in counts:
            raise CameraError(
                f"distortion model '{self.model}' takes "
                f'{" or ".join(map(str, counts))} coefficients, '
                f'not {len(self.distortion)}'
            )
        if not all(map(math.isfinite, self.distortion)):
            raise CameraError(f'distortion coefficients {self.distortion} are not all finite')
        if any(abs(k) > _MAX_COEFFICIENT for k in self.distortion):
            raise CameraError(
                f'distortion coefficients {self.distortion} are implausible: above '
                f'{_MAX_COEFFICIENT:g}; recalibrate the camera'
            )

    def _check_view(self) -> None:
        """Raise CameraError for a focal length or principal point that no lens has.

        They come from files and messages; values like 1e300 would overflow later on.
        """
        least, most = _FOCAL_LENGTHS
        for axis, side in (('x', self.width), ('y', self.height)):
            focal, centre = getattr(self, f'f{axis}'), getattr(self, f'c{axis}')
            # The longer side bounds it: a mask of a few rows is much wider than high.
            if not least <= focal / side <= most * max(self.width, self.height) / side:
                raise CameraError(
                    f'focal length f{axis}={focal:g} of an image of {self.width}x{self.height} '
                    f'pixels is implausible: it is outside {least:g}..{most:g} times the '
                    "image's side; recalibrate the camera"
                )
            if abs(centre - side / 2) / focal > _MAX_OFF_AXIS:
                raise CameraError(
                    f'principal point c{axis}={centre:g} is far from the image of '
                    f'{self.width}x{self.height} pixels: recalibrate the camera'
                )

    @classmethod
    def pinhole(cls, width: int, height: int, hfov_deg: float) -> Calibration:
        """Make an ideal camera with square pixels, looking through the image's middle.

        ``hfov_deg`` is the angle between the image's left and right borders.
        """
        if not 0 < hfov_deg < math.degrees(_MAX_FOV):
            raise CameraError(f'horizontal field of view {hfov_deg} degrees is outside 0..179')
        focal = width / 2 / math.tan(math.radians(hfov_deg) / 2)
        return cls(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)

    @property
    def matrix(self) -> np.ndarray:
        """The camera matrix K, (3, 3) float64."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    def scaled(self, width: int, height: int) -> Calibration:
        """Return the calibration of the same view resampled to another size.

        Image *borders* are kept, so pixel centres move: u' + 0.5 = (u + 0.5) * width / self.width.
        """
        if (width, height) == (self.width, self.height):
            return self
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )

    def rays(self) -> np.ndarray:
        """Rays through all pixel centres: (H, W, 3) float64, optical frame, z = 1.

        NaN where the lens model has no ray in front of the camera for a pixel.
        """
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        return self.unproject(np.stack([u, v], axis=-1))

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Rays through image points (..., 2) float (u, v): (..., 3) float64, z = 1, or NaN."""
        points = np.asarray(pixels, np.float64)
        flat = np.ascontiguousarray(points.reshape(-1, 1, 2))
        rays = np.ones((len(flat), 3))
        if self.is_pinhole:
            rays[:, :2] = (flat[:, 0] - (self.cx, self.cy)) / (self.fx, self.fy)
        elif len(flat):
            rays[:, :2] = self._undistorted(flat)
            with np.errstate(invalid='ignore'):
                miss = np.abs(self.project(rays) - flat[:, 0]).max(axis=1)
                rays[~(miss < _REPROJECTION_TOLERANCE)] = np.nan
        return rays.reshape(points.shape[:-1] + (3,))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Image points (..., 2) float64 (u, v) of points (..., 3) in the optical frame.

        NaN for points that the camera cannot see: behind it, or so far off the axis that the
        distortion polynomial has folded back. Points outside the image are kept.
        """
        xyz = np.asarray(points, np.float64)
        flat = xyz.reshape(-1, 3)
        with np.errstate(invalid='ignore', divide='ignore', over='ignore'):
            seen = flat[:, 2] > 0
            if self.is_pinhole:
                pixels = self._distorted(flat)
                pixels[~seen] = np.nan
                return pixels.reshape(xyz.shape[:-1] + (2,))
            seen &= np.square(flat[:, :2] / flat[:, 2:]).sum(axis=1) <= self._fold_radius**2
        pixels = np.full((len(flat), 2), np.nan)
        if seen.any():
            pixels[seen] = self._distorted(np.ascontiguousarray(flat[seen]))
        return pixels.reshape(xyz.shape[:-1] + (2,))

    @property
    def is_pinhole(self) -> bool:
        """Whether rays are linear in the pixel coordinates: no lens distortion at all."""
        return self.model != 'equidistant' and not any(self.distortion)

    def _distorted(self, xyz: np.ndarray) -> np.ndarray:
        zero = np.zeros(3)
        if self.is_pinhole:
            x, y, z = xyz.T
            return np.stack([x / z * self.fx + self.cx, y / z * self.fy + self.cy], axis=1)
        if self.model == 'equidistant':
            pixels, _ = cv2.fisheye.projectPoints(
                xyz[:, None], zero, zero, self.matrix, np.array(self.distortion)
            )
        else:
            pixels, _ = cv2.projectPoints(
                xyz[:, None], zero, zero, self.matrix, np.array(self.distortion)
            )
        return np.asarray(pixels).reshape(-1, 2)

    def _undistorted(self, pixels: np.ndarray) -> np.ndarray:
        """Normalised x, y (N, 2) of pixels (N, 1, 2), not yet checked."""
        coefficients = np.array(self.distortion)
        if self.model == 'equidistant':
            rays = cv2.fisheye.undistortPoints(pixels, self.matrix, coefficients)
            return np.asarray(rays).reshape(-1, 2)
        # OpenCV 5 folded undistortPointsIter, which takes the criteria, into undistortPoints.
        undistort = getattr(cv2, 'undistortPointsIter', cv2.undistortPoints)
        rays = undistort(
            pixels, self.matrix, coefficients, R=np.eye(3), P=np.eye(3), criteria=_REFINEMENT
        )
        return np.asarray(rays).reshape(-1, 2)

    @cached_property
    def _fold_radius(self) -> float:
        """Tangent of the angle off the axis up to which the image radius still grows."""
        if self.is_pinhole:
            return math.inf
        angle = np.linspace(0, _MAX_FOV / 2, 2000)
        xyz = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=1)
        radial = replace(self, cx=0.0, cy=0.0, distortion=self._radial_coefficients())
        with np.errstate(invalid='ignore', over='ignore'):  # far off the axis
            grows = np.diff(radial._distorted(xyz)[:, 0]) > 0
        last = len(grows) if grows.all() else int(np.argmin(grows))
        return math.tan(angle[last])

    def _radial_coefficients(self) -> Tuple[float, ...]:
        k = self.distortion
        return k if self.model == 'equidistant' else k[:2] + (0.0, 0.0) + k[4:8]


class Turn(NamedTuple):
    """Rotation of an image by quarter turns, and the mapping of its pixels.

    quarters: counterclockwise quarter turns, 0..3. width, height: of the image before it is
    turned, pixels.
    """

    quarters: int
    width: int
    height: int

    @property
    def turned_size(self) -> Tuple[int, int]:
        """Width and height of the turned image, pixels."""
        size = (self.width, self.height)
        return size[::-1] if self.quarters % 2 else size

    def turn(self, image: np.ndarray) -> np.ndarray:
        """Turned copy of an image (H, W) uint8, the image itself where nothing is to be done."""
        if self.quarters == 0:
            return image
        return np.asarray(cv2.rotate(image, _ROTATIONS[self.quarters]))

    def to_turned(self, u: np.ndarray, v: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Map points (u, v) of the image to the turned one, pixels, any shape."""
        right, bottom = self.width - 1, self.height - 1
        return ((u, v), (v, right - u), (right - u, bottom - v), (bottom - v, u))[self.quarters]

    def to_image(self, u: np.ndarray, v: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Map points (u, v) of the turned image back to the image, pixels, any shape."""
        right, bottom = self.width - 1, self.height - 1
        return ((u, v), (right - v, u), (right - u, bottom - v), (v, bottom - u))[self.quarters]


class RayTable:
    """Rays through the pixel *edges* of each column of an image, for one calibration.

    The image may be turned so that the ground is at its bottom: rows and columns are those of the
    turned image, rays are in the optical frame of the camera as it is mounted.

    Edge e of column u is the image point (u, e - 0.5): between the rows e - 1 and e. A blocker
    whose lowest pixel is in row r touches the ground somewhere between the centres of r and of
    r + 1, so edge r + 1, halfway, is an unbiased estimate of its contact point.
    """

    def __init__(self, calibration: Calibration, quarters: int = 0) -> None:
        self.calibration = calibration
        self.turn = Turn(quarters, calibration.width, calibration.height)
        focal = (calibration.fx, calibration.fy)
        #: Focal length along the rows and along the columns, pixels.
        self.focal_across, self.focal_down = focal[::-1] if quarters % 2 else focal
        table = _edge_rays(calibration, self.turn)  # (H + 1, W, 2) float32, NaN: no ray
        self.edges, self.width = table.shape[:2]
        self._xy = table.reshape(-1, 2)
        has_ray = np.isfinite(table[..., 0])  # (H + 1, W)
        seen = has_ray.any(axis=0)
        #: Lowest edge that has a ray, in each column: (W,) int; 0 in columns without rays.
        self.lowest = np.where(seen, self.edges - 1 - has_ray[::-1].argmax(axis=0), 0)
        #: Highest edge that has a ray, in each column: (W,) int; `edges` in columns without rays.
        self.highest = np.where(seen, has_ray.argmax(axis=0), self.edges)

    def at(self, edges: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Rays of edges and columns (n,) int: (n, 2) float32, x and y at z = 1, optical frame."""
        rays: np.ndarray = self._xy.take(edges * self.width + columns, axis=0)
        return rays

    def grid(self, top: int) -> np.ndarray:
        """Rays (H + 1 - top, W, 2) float32 of all edges from `top` down, as `at` has them."""
        return self._xy.reshape(self.edges, self.width, 2)[top:]


def _edge_rays(calibration: Calibration, turn: Turn) -> np.ndarray:
    """Rays (H + 1, W, 2) float32 of the edges of a turned image."""
    width, height = turn.turned_size
    # Undistorting takes microseconds per point, so it is done for every 4th pixel of large images
    # (for more in small ones, whose pixels span more of the lens) and interpolated, to 0.01 pixel.
    stride = min(max(1, width // _COLUMNS_PER_STRIDE), _MAX_STRIDE)
    u = np.arange(0, width - 1 + stride, stride)
    v = np.arange(0, height + stride, stride) - 0.5
    places = np.stack(turn.to_image(*np.meshgrid(u, v)), axis=-1)  # (h, w, 2)
    lattice = calibration.unproject(places)[..., :2]
    by_row = _interpolated(lattice.astype(np.float32), height + 1, stride, axis=0)
    return _interpolated(by_row, width, stride, axis=1)


def _interpolated(values: np.ndarray, count: int, stride: int, axis: int) -> np.ndarray:
    """Interpolate `count` values along one axis from those at every `stride`-th of them."""
    index = np.arange(count)
    before, share = index // stride, (index % stride / stride).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = count
    weight = share.reshape(shape)
    left = values.take(before, axis=axis)
    right = values.take(np.minimum(before + 1, values.shape[axis] - 1), axis=axis)
    # NaN * 0 is NaN: a lattice point without a ray must not spoil the pixel exactly on its left.
    result: np.ndarray = np.where(weight == 0, left, left + (right - left) * weight)
    return result
