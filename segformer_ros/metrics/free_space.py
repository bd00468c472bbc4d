"""Drivable area: how often free ground is claimed where there is none, and by how much it errs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.camera import Camera
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    CLASS_NONE,
    BoundaryConfig,
    DrivableAreaEstimator,
    DrivableConfig,
)
from segformer_ros.drivable.profile import nearest_in_spans
from segformer_ros.metrics.metric import Metric, ratio, ratios


@dataclass(frozen=True)
class Scale:
    """How free space is measured.

    unit: 'm' over the ground, or 'height' for shares of the image's height, counted from its
        bottom. bands: lower ends of the bands that rates are given for; the last one is open.
    reach: what lies further is not told apart. margin: what an estimate may be off.
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

        Returns the columns that were counted, the false free and the false blocked ones.
        """
        known = ~(np.isnan(true) | np.isnan(estimated))
        scale = self.scale
        truth = np.minimum(true[known], scale.reach)
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
        place = int(np.searchsorted(np.cumsum(histogram), share * total))
        return place * self.scale.reach / _BINS


class Ends(NamedTuple):
    """Where free space ends in N columns.

    rows: (N,) float64 share of the image's height that is free, from the bottom; inf = all of it.
    metres: (N,) float64 free distance over the ground, NaN where no ground is seen; None without
    a calibrated camera. Both are NaN where the end is not labelled.
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
        # "Nearer than what the image shows" is taken as the first ground that it shows: one pixel
        # there must not count as metres.
        first = np.hypot(*ranges.points.T)
        distance = np.where(ranges.distance == 0, first, ranges.distance)
        at = nearest_in_spans(
            np.where(np.isnan(distance), np.inf, distance), self._config.boundary.columns
        )
        metres = distance[at]
        metres[(profile.rows[at] >= 0) & (profile.classes[at] == CLASS_NONE)] = np.nan
        return Ends(rows, metres)
