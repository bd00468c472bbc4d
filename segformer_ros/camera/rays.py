"""Rays of an image that is turned so that the ground is at its bottom."""

from __future__ import annotations

from typing import NamedTuple, Tuple

import cv2
import numpy as np

from segformer_ros.camera.calibration import Calibration

_ROTATIONS = {
    1: cv2.ROTATE_90_COUNTERCLOCKWISE,
    2: cv2.ROTATE_180,
    3: cv2.ROTATE_90_CLOCKWISE,
}
_COLUMNS_PER_STRIDE = 320
_MAX_STRIDE = 4


class Turn(NamedTuple):
    """An image turned by quarter turns, and where its pixels were.

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
        """Where points (u, v) of the image are in the turned one, pixels, any shape."""
        right, bottom = self.width - 1, self.height - 1
        return ((u, v), (v, right - u), (right - u, bottom - v), (bottom - v, u))[self.quarters]

    def to_image(self, u: np.ndarray, v: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Where points (u, v) of the turned image are in the image, pixels, any shape."""
        right, bottom = self.width - 1, self.height - 1
        return ((u, v), (right - v, u), (right - u, bottom - v), (v, bottom - u))[self.quarters]


class RayTable:
    """Rays through the pixel *edges* of each column of an image, for one calibration.

    The image may be turned so that the ground is at its bottom: rows and columns are those of the
    turned image, the rays are in the optical frame of the camera as it is mounted.

    Edge e of column u is the image point (u, e - 0.5): between the rows e - 1 and e. A blocker
    whose lowest pixel is in row r touches the ground somewhere between the centres of r and of
    r + 1, so edge r + 1, halfway, is the unbiased place to measure.
    """

    def __init__(self, calibration: Calibration, quarters: int = 0) -> None:
        self.calibration = calibration
        self.turn = Turn(quarters, calibration.width, calibration.height)
        focal = (calibration.fx, calibration.fy)
        #: Focal length along the rows and along the columns, pixels.
        self.focal_across, self.focal_down = focal[::-1] if quarters % 2 else focal
        table = _edge_rays(calibration, self.turn)  # (H + 1, W, 2) float32, NaN where none is
        self.edges, self.width = table.shape[:2]
        self._xy = table.reshape(-1, 2)
        has_ray = np.isfinite(table[..., 0])  # (H + 1, W)
        seen = has_ray.any(axis=0)
        #: Lowest edge of each column that has a ray, (W,) int; 0 where none has.
        self.lowest = np.where(seen, self.edges - 1 - has_ray[::-1].argmax(axis=0), 0)
        #: Highest edge of each column that has a ray, (W,) int; `edges` where none has.
        self.highest = np.where(seen, has_ray.argmax(axis=0), self.edges)

    def at(self, edges: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Rays of edges and columns (n,) int: (n, 2) float32, x and y at z = 1, optical frame."""
        rays: np.ndarray = self._xy.take(edges * self.width + columns, axis=0)
        return rays

    def grid(self, top: int) -> np.ndarray:
        """Rays (H + 1 - top, W, 2) float32 of all edges from `top` down, as `at` has them."""
        return self._xy.reshape(self.edges, self.width, 2)[top:]


def _edge_rays(calibration: Calibration, turn: Turn) -> np.ndarray:
    """Rays (H + 1, W, 2) float32 of the edges of an image that is turned."""
    width, height = turn.turned_size
    # Undistorting takes microseconds per point: large images get every 4th pixel's ray from it,
    # small ones, whose pixels span more of the lens, more. The rest lies between, to 0.01 pixel.
    stride = min(max(1, width // _COLUMNS_PER_STRIDE), _MAX_STRIDE)
    u = np.arange(0, width - 1 + stride, stride)
    v = np.arange(0, height + stride, stride) - 0.5
    places = np.stack(turn.to_image(*np.meshgrid(u, v)), axis=-1)  # (h, w, 2)
    lattice = calibration.unproject(places)[..., :2]
    by_row = _interpolated(lattice.astype(np.float32), height + 1, stride, axis=0)
    return _interpolated(by_row, width, stride, axis=1)


def _interpolated(values: np.ndarray, count: int, stride: int, axis: int) -> np.ndarray:
    """`count` values at every pixel from those at every `stride`-th along one axis."""
    index = np.arange(count)
    before, share = index // stride, (index % stride / stride).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = count
    weight = share.reshape(shape)
    left = values.take(before, axis=axis)
    right = values.take(np.minimum(before + 1, values.shape[axis] - 1), axis=axis)
    # A lattice point without a ray must not spoil the pixels that lie on its neighbour.
    result: np.ndarray = np.where(weight == 0, left, left + (right - left) * weight)
    return result
