# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Free space: false free and false blocked ground, by image columns, in bird's-eye view, in maps.

The bird's-eye view is scored cell by cell, as in the KITTI road benchmark: Fritsch, Kuehnl,
Geiger: A New Performance Measure and Evaluation Benchmark for Road Detection Algorithms (ITSC
2013), cells of 0.05 m, from 6 to 46 m ahead and 10 m to each side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.camera import Calibration, Camera, CameraPose
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    CLASS_NONE,
    BoundaryConfig,
    DrivableAreaEstimator,
    DrivableConfig,
    GridNumbers,
    GroundMap,
    PlanarPose,
)
from segformer_ros.drivable.ground_points import ground_names
from segformer_ros.drivable.profile import nearest_in_spans
from segformer_ros.metrics.metric import Metric, ratio, ratios


@dataclass(frozen=True)
class Scale:
    """How free space is measured.

    unit: 'm' over the ground, or 'height' for shares of the image's height, counted from its
        bottom. bands: lower ends of the bands that rates are given for; the last one is open.
    reach: longer distances count as equal to it. margin: tolerated error of an estimate.
    """

    unit: str
    bands: Tuple[float, ...]
    reach: float
    margin: float


METRES = Scale('m', (0.0, 5.0, 10.0, 20.0, 40.0), reach=40.0, margin=2.0)
"""For calibrated cameras: up to 40 m, wrong by at least 2 m."""
ROWS = Scale('height', (0.0, 0.1, 0.2, 0.3, 0.4), reach=0.6, margin=0.02)
"""For uncalibrated cameras; the horizon usually lies at about half of the height."""

_STEP = 1000
"""Errors are counted in thousandths of the unit."""
_BINS = 4000
"""Absolute errors are put into bins of 1 / _BINS of the reach."""


@dataclass(frozen=True)
class FreeSpaceScores:
    """Rates over columns, and errors of the free distance in the scale's unit.

    columns, false_free_rate, false_blocked_rate: (B,) by band of the true free distance, NaN in
        empty bands. A column is false free where the estimate is the margin or more beyond the
        truth, false blocked where it is as much short of it.
    false_free, false_blocked: rates over all columns.
    bias, mean_error, p50, p95: mean signed error, mean and percentiles of the absolute error, of
        the columns in which truth or estimate end within the reach.
    """

    scale: Scale
    columns: np.ndarray
    false_free_rate: np.ndarray
    false_blocked_rate: np.ndarray
    false_free: float
    false_blocked: float
    bias: float
    mean_error: float
    p50: float
    p95: float


class FreeSpaceMetric(Metric[FreeSpaceScores]):
    """Free distance of columns against the truth.

    Counts, one after another: for each band its columns, the false free and the false blocked
    ones; the sums of signed and absolute errors (thousandths); a histogram of absolute errors.
    """

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self._bands = len(scale.bands)
        super().__init__((3 * self._bands + 2 + _BINS + 1,))

    def update(self, true: np.ndarray, estimated: np.ndarray) -> Tuple[int, int, int]:
        """Count columns: (N,) float64 free distances each, inf = nothing blocks, NaN = unknown.

        Returns how many columns were counted, were false free and were false blocked.
        """
        known = ~(np.isnan(true) | np.isnan(estimated))
        scale = self.scale
        truth = np.minimum(true[known], scale.reach)  # (n,), as all that follows
        guess = np.minimum(estimated[known], scale.reach)
        band = np.searchsorted(scale.bands, truth, side='right') - 1
        error = guess - truth
        outcomes = (np.ones(len(error), bool), error >= scale.margin, error <= -scale.margin)
        rates, sums, histogram = self._parts()
        for row, chosen in zip(rates, outcomes):
            row += np.bincount(band[chosen], minlength=self._bands)
        measured = error[(truth < scale.reach) | (guess < scale.reach)]
        steps = np.round(measured * _STEP).astype(np.int64)
        sums += (int(steps.sum()), int(np.abs(steps).sum()))
        bins = np.round(np.abs(measured) * (_BINS / scale.reach)).astype(np.int64)
        histogram += np.bincount(bins, minlength=_BINS + 1)
        return len(error), int(outcomes[1].sum()), int(outcomes[2].sum())

    def compute(self) -> FreeSpaceScores:
        """Scores of all columns."""
        (columns, free, blocked), (signed, absolute), histogram = self._parts()
        measured = int(histogram.sum())
        return FreeSpaceScores(
            scale=self.scale,
            columns=columns.copy(),
            false_free_rate=ratios(free, columns),
            false_blocked_rate=ratios(blocked, columns),
            false_free=ratio(int(free.sum()), int(columns.sum())),
            false_blocked=ratio(int(blocked.sum()), int(columns.sum())),
            bias=ratio(int(signed), measured * _STEP),
            mean_error=ratio(int(absolute), measured * _STEP),
            p50=self._percentile(histogram, 0.50),
            p95=self._percentile(histogram, 0.95),
        )

    def _parts(self) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Views of the counts: rates (3, B), sums (2,), histogram."""
        end = 3 * self._bands
        return self.counts[:end].reshape(3, -1), self.counts[end : end + 2], self.counts[end + 2 :]

    def _percentile(self, histogram: np.ndarray, share: float) -> float:
        total = int(histogram.sum())
        if not total:
            return float('nan')
        bin_index = int(np.searchsorted(np.cumsum(histogram), share * total))
        return bin_index * self.scale.reach / _BINS


class Ends(NamedTuple):
    """Where free space ends in N columns.

    rows: (N,) float64 share of the image's height that is free, from the bottom; inf = all of it.
    metres: (N,) float64 free distance over the ground, NaN where no ground is seen; None without
    a calibrated camera. Both are NaN where the class of the blocker is unknown.
    """

    rows: np.ndarray
    metres: Optional[np.ndarray]


class FreeSpaceReader:
    """Reads the ends of free space off label maps, as the node does.

    Raises ClassMapError where the class map does not have the drivable group.
    """

    def __init__(self, class_map: ClassMap, drivable: str, camera: Camera) -> None:
        self._camera = camera
        self._config = DrivableConfig(boundary=BoundaryConfig(drivable=drivable))
        self._estimator = DrivableAreaEstimator(self._config, class_map)

    def read(self, labels: np.ndarray) -> Ends:
        """Ends of the free space in a label map, (H, W) uint8 train ids."""
        area = self._estimator.update(labels, None, self._camera.calibration, self._camera.pose)
        height = area.image_height
        rows = np.where(area.boundary_row < 0, np.inf, (height - 1.0 - area.boundary_row) / height)
        unknown = (area.boundary_row >= 0) & (area.blocking_class == CLASS_NONE)
        rows[unknown] = np.nan
        if area.view is None:
            return Ends(rows, None)
        ranges, profile = area.view.ranges, area.view.profile
        # 0, nearer than what the image shows, is replaced by the first ground that it shows: a
        # difference of one pixel there must not count as metres.
        first = np.hypot(*ranges.points.T)  # (M,)
        distance = np.where(ranges.distance == 0, first, ranges.distance)
        strips = nearest_in_spans(
            np.where(np.isnan(distance), np.inf, distance), self._config.boundary.columns
        )  # (N,)
        metres = distance[strips]
        metres[(profile.rows[strips] >= 0) & (profile.classes[strips] == CLASS_NONE)] = np.nan
        return Ends(rows, metres)


_LEVELS = 256
"""Values of a confidence map."""
_MASK = _LEVELS
"""Level from which a cell is drivable in the mask."""


@dataclass(frozen=True)
class CellGrid:
    """Cells on the ground, in metres from the point below the camera, along its view.

    cell: side of a cell. near, far: extent ahead. side: extent to the left and to the right.
    """

    cell: float = 0.05
    near: float = 6.0
    far: float = 46.0
    side: float = 10.0

    def centres(self) -> Tuple[np.ndarray, np.ndarray]:
        """Coordinates of all cells' centres, ahead and to the left: (N,) float64 each."""
        ahead = self.near + self.cell * (
            0.5 + np.arange(round((self.far - self.near) / self.cell))
        )
        left = self.side - self.cell * (0.5 + np.arange(round(2 * self.side / self.cell)))
        grid = np.meshgrid(ahead, left, indexing='ij')
        return grid[0].ravel(), grid[1].ravel()


KITTI_ROAD = CellGrid()


@dataclass(frozen=True)
class GroundOverlapScores:
    """How well the mask finds the drivable ground; shares of cells.

    cells: how many had a true class. precision, recall, f1, iou: of the mask. max_f: the largest
    F1 over all thresholds of the confidence, with the precision and the recall there.
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
    """Counts (2, 512): cells that are truly not drivable, and those that are, by level.

    The level ranks cells by how likely they are drivable. An engine gives the probability of the
    best class only, so cells of drivable classes rank by their confidence (levels 256 to 511), and
    below them all others, the less confident the higher (levels 0 to 255).
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
        # False and true positives if cells from level i on are called drivable: (512,) each.
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
    """Reads the cells of the ground that a camera sees off label maps.

    A cell has the label of the pixel that its centre projects to. Raises ClassMapError where the
    class map does not have the drivable group.
    """

    def __init__(
        self, class_map: ClassMap, drivable: str, camera: Camera, grid: CellGrid = KITTI_ROAD
    ) -> None:
        self._camera, self._grid = camera, grid
        self._drivable, self._known = np.zeros(256, bool), np.zeros(256, bool)
        self._drivable[list(class_map.drivable_ids(drivable))] = True
        self._known[: len(class_map)] = True
        #: Size of the label maps, and the flat pixel index of each cell in them, (N,).
        self._size: Tuple[int, ...] = ()
        self._pixels = np.zeros(0, np.intp)

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
            self._pixels, self._size = cell_pixels(scaled, pose, self._grid), truth.shape
        true = truth.ravel()[self._pixels]  # (N,)
        known = self._known[true]
        pixels = self._pixels[known]  # (n,), as all that follows
        free = self._drivable[predicted.ravel()[pixels]]
        sure = np.full(len(pixels), _LEVELS - 1, np.uint16)
        if confidence is not None:
            sure = confidence.ravel()[pixels].astype(np.uint16)
        return self._drivable[true[known]], np.where(free, _MASK + sure, _LEVELS - 1 - sure)


def cell_pixels(calibration: Calibration, pose: CameraPose, grid: CellGrid) -> np.ndarray:
    """Pixel index, row * width + column, of each cell that the image shows: (N,) intp.

    Assumes flat ground. Ahead is where the camera looks; if it looks straight down, the vehicle's
    x axis.
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
    index = row[inside] * calibration.width + column[inside]
    return np.asarray(index.astype(np.intp))


MAP_RADIUS = 10.0
"""Metres around the vehicle within which cells are counted."""
MAP_EVERY = 10
"""The map is counted after every so many frames of a recording: maps in between are alike."""


class MapCounts(NamedTuple):
    """Numbers of maps, and of cells within MAP_RADIUS of the vehicle; see MapScores.

    open_ground: on which nothing stands; known: those of them that have a value. free: with a
    value below 100; false: those of them where something stands, or called road where there is
    none; on_things: those of them where something stands.
    """

    maps: int
    open_ground: int
    known: int
    free: int
    false: int
    on_things: int


@dataclass(frozen=True)
class MapScores:
    """Shares of cells.

    known: of the ground on which nothing stands, the cells that have a value in the map.
    false_free: of the cells that the map calls ground, those where something stands, and those
    that it calls road where there is none; false_on_things: only those where something stands.
    cells: how many the map calls ground. maps: how many were counted.
    """

    known: float
    false_free: float
    false_on_things: float
    cells: int
    maps: int


class MapTruth(Metric[MapScores]):
    """Counts MapCounts over the maps of drives through a known world.

    class_map: of the maps and of the world.
    """

    def __init__(self, class_map: ClassMap) -> None:
        super().__init__((len(MapCounts._fields),))
        self._ground = list(class_map.ids(*ground_names(class_map)))

    def update(
        self,
        ground_map: GroundMap,
        numbers: GridNumbers,
        place: PlanarPose,
        ground: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        """Count a map. place: of the vehicle in its frame. ground: see Truth.ground."""
        height, width = numbers.cells.shape
        iy, ix = np.divmod(np.arange(height * width), width)
        corner = np.array([numbers.origin_x, numbers.origin_y])
        middle = corner + (np.stack([ix, iy], axis=1) + 0.5) * numbers.resolution  # (H * W, 2)
        near = np.hypot(*(middle - (place.x, place.y)).T) < MAP_RADIUS
        # true: (n, classes) bool, the classes that lie or stand on each cell.
        cells, true = numbers.cells.ravel()[near], ground(place.undo(middle[near]))
        known = true.any(axis=1)
        cells, true = cells[known], true[known]
        blocked = (true.sum(axis=1) > 1) | ~true[:, self._ground].any(axis=1)  # (n,)
        free = (cells >= 0) & (cells < 100)
        road = ground_map.driven
        called_road = np.isin(cells, [ground_map.cost_of(int(each)) for each in road])
        wrong = free & (blocked | (called_road & ~true[:, road].any(axis=1)))
        counted = (~blocked, ~blocked & (cells >= 0), free, wrong, free & blocked)
        self.counts += np.array([1, *map(np.count_nonzero, counted)])

    def compute(self) -> MapScores:
        """Scores of all maps counted so far."""
        counts = MapCounts(*self.counts.tolist())
        return MapScores(
            known=ratio(counts.known, counts.open_ground),
            false_free=ratio(counts.false, counts.free),
            false_on_things=ratio(counts.on_things, counts.free),
            cells=counts.free,
            maps=counts.maps,
        )
