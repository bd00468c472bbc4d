"""Ray table: the viewing ray of every place where a boundary can lie in the image."""

from __future__ import annotations

import numpy as np

from segformer_ros.camera import Calibration

_COLUMNS_PER_STRIDE = 320
_MAX_STRIDE = 4


class RayTable:
    """Rays through the pixel *edges* of each column, for one calibration.

    Edge e of column u is the image point (u, e - 0.5): between the rows e - 1 and e. A blocker
    whose lowest pixel is in row r touches the ground somewhere between the centres of r and of
    r + 1, so edge r + 1, halfway, is the unbiased place to measure.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        table = _edge_rays(calibration)  # (H + 1, W, 2) float32, NaN where there is none
        self.edges, self.width = table.shape[:2]
        self._xy = table.reshape(-1, 2)
        has_ray = np.isfinite(table[..., 0])
        #: Lowest edge of each column that has a ray, (W,) int; 0 where none has.
        self.lowest = np.where(
            has_ray.any(axis=0), self.edges - 1 - has_ray[::-1].argmax(axis=0), 0
        )

    def at(self, edges: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Rays of edges and columns (n,) int: (n, 2) float32, x and y at z = 1, optical frame."""
        rays: np.ndarray = self._xy.take(edges * self.width + columns, axis=0)
        return rays


def _edge_rays(calibration: Calibration) -> np.ndarray:
    height, width = calibration.height, calibration.width
    # Undistorting takes microseconds per point: large images get every 4th pixel's ray from it,
    # small ones, whose pixels span more of the lens, more. The rest lies between, to 0.01 pixel.
    stride = min(max(1, width // _COLUMNS_PER_STRIDE), _MAX_STRIDE)
    u = np.arange(0, width - 1 + stride, stride)
    v = np.arange(0, height + stride, stride) - 0.5
    lattice = calibration.unproject(np.stack(np.meshgrid(u, v), axis=-1))[..., :2]
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
