"""The drivable area from above, cell by cell in metres, as the KITTI road benchmark scores it.

Fritsch, Kuehnl, Geiger: A New Performance Measure and Evaluation Benchmark for Road Detection
Algorithms (ITSC 2013): cells of 0.05 m, from 6 to 46 m ahead and 10 m to each side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from segformer_ros.camera import Calibration, Camera, CameraPose
from segformer_ros.classes import ClassMap
from segformer_ros.metrics.metric import Metric, ratio, ratios

_LEVELS = 256
"""Values of a confidence map."""
_MASK = _LEVELS
"""Level from which on a cell is drivable in the mask."""


@dataclass(frozen=True)
class CellGrid:
    """Cells on the ground, in metres from the point below the camera, along its view.

    cell: side of a cell. near, far: ahead. side: to the left and to the right.
    """

    cell: float = 0.05
    near: float = 6.0
    far: float = 46.0
    side: float = 10.0

    def centres(self) -> Tuple[np.ndarray, np.ndarray]:
        """Distance ahead and to the left of all cells' centres, (N,) float64 each."""
        ahead = self.near + self.cell * (
            0.5 + np.arange(round((self.far - self.near) / self.cell))
        )
        left = self.side - self.cell * (0.5 + np.arange(round(2 * self.side / self.cell)))
        grid = np.meshgrid(ahead, left, indexing='ij')
        return grid[0].ravel(), grid[1].ravel()


KITTI_ROAD = CellGrid()


@dataclass(frozen=True)
class GroundOverlapScores:
    """How much of the drivable ground the mask finds; shares of cells.

    cells: how many had a true class. precision, recall, f1, iou: of the mask. max_f: the largest
    F1 that any threshold of the confidence gives, with the precision and the recall there.
    """

    grid: CellGrid
    cells: int
    precision: float
    recall: float
    f1: float
    iou: float
    max_f: float
    max_f_precision: float
    max_f_recall: float


class GroundOverlap(Metric[GroundOverlapScores]):
    """Counts (2, 512): cells that are not drivable in truth, and those that are, by level.

    An engine gives the probability of the best class alone. So cells are ranked by what is known:
    those of drivable classes by their confidence (levels 256 to 511), below them all others by the
    confidence in what they are instead (levels 0 to 255, the surest first).
    """

    def __init__(self, grid: CellGrid = KITTI_ROAD) -> None:
        super().__init__((2, 2 * _LEVELS))
        self.grid = grid

    def update(self, truth: np.ndarray, levels: np.ndarray) -> None:
        """Count cells: (N,) bool true drivable ground and (N,) uint16 levels."""
        keys = truth * np.uint16(2 * _LEVELS) + levels
        self.counts += np.bincount(keys, minlength=4 * _LEVELS).reshape(2, -1)

    def compute(self) -> GroundOverlapScores:
        """Scores of all cells of all frames."""
        # False and true positives, if a cell is drivable from level i on: (512,) each.
        false, true = self.counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        positives = int(self.counts[1].sum())
        f_scores = ratios(2 * true, true + false + positives)
        best = 0 if np.isnan(f_scores).all() else int(np.nanargmax(f_scores))
        hits, wrong = int(true[_MASK]), int(false[_MASK])
        return GroundOverlapScores(
            grid=self.grid,
            cells=int(self.counts.sum()),
            precision=ratio(hits, hits + wrong),
            recall=ratio(hits, positives),
            f1=float(f_scores[_MASK]),
            iou=ratio(hits, positives + wrong),
            max_f=float(f_scores[best]),
            max_f_precision=ratio(int(true[best]), int(true[best] + false[best])),
            max_f_recall=ratio(int(true[best]), positives),
        )


class GroundCells:
    """The cells of the ground that a camera sees, read off label maps.

    Each cell has the pixel in which its centre lies. Raises ClassMapError where the class map does
    not have the drivable group.
    """

    def __init__(
        self, class_map: ClassMap, drivable: str, camera: Camera, grid: CellGrid = KITTI_ROAD
    ) -> None:
        self._camera, self._grid = camera, grid
        self._drivable, self._known = np.zeros(256, bool), np.zeros(256, bool)
        self._drivable[list(class_map.drivable_ids(drivable))] = True
        self._known[: len(class_map)] = True
        self._size: Tuple[int, ...] = ()
        self._places = np.zeros(0, np.intp)

    def read(
        self, truth: np.ndarray, predicted: np.ndarray, confidence: Optional[np.ndarray] = None
    ) -> Optional[Tuple[np.ndarray, np.ndarray]]:
        """What `GroundOverlap.update` takes; None without a calibrated camera.

        truth, predicted: (H, W) uint8 train ids; cells without a true class are left out.
        confidence: (H, W) uint8, 0..255 for 0..1.
        """
        calibration, pose = self._camera.calibration, self._camera.pose
        if calibration is None or pose is None:
            return None
        if truth.shape != self._size:
            scaled = calibration.scaled(width=truth.shape[1], height=truth.shape[0])
            self._places, self._size = cell_pixels(scaled, pose, self._grid), truth.shape
        true = truth.ravel()[self._places]  # (N,), as all that follows
        known = self._known[true]
        places = self._places[known]
        free = self._drivable[predicted.ravel()[places]]
        sure = np.full(len(places), _LEVELS - 1, np.uint16)
        if confidence is not None:
            sure = confidence.ravel()[places].astype(np.uint16)
        return self._drivable[true[known]], np.where(free, _MASK + sure, _LEVELS - 1 - sure)


def cell_pixels(calibration: Calibration, pose: CameraPose, grid: CellGrid) -> np.ndarray:
    """Place in the image, row * width + column, of each cell that it shows: (N,) intp.

    The ground is flat. Ahead is where the camera looks, or the vehicle if it looks down.
    """
    rotation = pose.rotation()  # vehicle from optical
    forward = rotation[:2, 2]
    if np.hypot(*forward) < 1e-6:
        forward = np.array([1.0, 0.0])
    forward = forward / np.hypot(*forward)
    ahead, left = grid.centres()
    x = ahead * forward[0] - left * forward[1]
    y = ahead * forward[1] + left * forward[0]
    points = np.stack([x, y, np.full(len(x), -pose.height)], axis=1)  # from the lens, (N, 3)
    pixels = calibration.project(points @ rotation)  # to the optical frame, then (N, 2)
    with np.errstate(invalid='ignore'):
        column, row = np.floor(pixels.T + 0.5)
        inside = (column >= 0) & (column < calibration.width)
        inside &= (row >= 0) & (row < calibration.height)
    places = row[inside] * calibration.width + column[inside]
    return np.asarray(places.astype(np.intp))
