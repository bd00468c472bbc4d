# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Boundary of the drivable area in the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drivable.profile import (
    CLASS_NONE,
    ROW_NONE,
    ColumnProfile,
    DrivableError,
    IdSet,
    first_blocked_rows,
    nearest_in_spans,
)
from segformer_ros.drivable.region import (
    PixelScale,
    SpeckRule,
    look_past_specks,
    reachable_columns,
)
from segformer_ros.frame import BlockedRows

_BAND = 128  # rows that stay in the cache
_FRACTION_ROWS = 270  # rows that road_fraction and sidewalk_fraction are counted in
_NOTHING = 254  # an id that no class has: what is drivable if a group is empty
_CONFIDENCE_DEPTH = 4  # pixels averaged: the blocker's very first one lies between two classes


@dataclass(frozen=True)
class BoundaryConfig:
    """What is drivable, and which pixels of the mask are trusted.

    columns: number of columns N that the boundary is given for; each spans a part of the image
        and reports the nearest blocker in it, so that no pole is missed between two columns.
    drivable: a group of the class map ('road', 'road+sidewalk', ...) or class names joined by '+'.
    hood: share (0..1) of the image's height, at its bottom, that shows the vehicle itself.
    front: where the vehicle stands at the image's bottom, shares (left, right) of the width. Only
        the connected drivable region that touches it is free.
    speckle_size: islands of blocked pixels that are narrower and lower than this where they stand
        on the ground, m, are ignored, whatever their class; 0: none. Needs a calibration.
    speckle: islands of fewer pixels than this are ignored at any distance; 0: none. For cameras
        without calibration only, since a far kerb has few pixels, too. Islands that have a class
        of `speckle_kept_groups` are never ignored by it.
    min_confidence: drivable pixels of a lower confidence (0..1) are not free; 0: all are.
    """

    columns: int = 128
    drivable: str = 'road'
    hood: float = 0.0
    front: Tuple[float, float] = (0.3, 0.7)
    speckle_size: float = 0.1
    speckle: int = 0
    speckle_kept_groups: Tuple[str, ...] = ('human', 'vehicle', 'object')
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        if self.columns < 1:
            raise DrivableError(f'columns={self.columns}: the boundary needs at least one column')
        if not 0 <= self.hood < 1:
            raise DrivableError(
                f'hood={self.hood} is outside 0..1: it is the share of the '
                "image's height that the hood covers"
            )
        left, right = self.front
        if not 0 <= left < right <= 1:
            raise DrivableError(
                f'front={self.front}: give the left and right end as shares of '
                "the image's width, 0 <= left < right <= 1"
            )
        if self.speckle < 0:
            raise DrivableError(
                f'speckle={self.speckle} pixels is negative: give 0 to switch it off'
            )
        if not 0 <= self.speckle_size <= 1:
            raise DrivableError(
                f'speckle_size={self.speckle_size} m is outside 0..1: it is the '
                'size of what a vehicle may run over'
            )
        if not 0 <= self.min_confidence <= 1:
            raise DrivableError(f'min_confidence={self.min_confidence} is outside 0..1')


@dataclass(frozen=True)
class Boundary:
    """Where the drivable area ends, for N columns of an image.

    columns: (N,) float32, image column u of the boundary point, pixels.
    rows: (N,) int32, first blocked row v from the bottom, or ROW_NONE.
    blocking_class: (N,) uint8 class id, or CLASS_NONE.
    confidence: (N,) float32, confidence 0..1 in the blocker; NaN where the engine gave none.
    road_fraction, sidewalk_fraction: shares of all the image's pixels, 0..1.
    profile: the boundary of narrower strips, from which this one is made.
    """

    height: int
    width: int
    columns: np.ndarray
    rows: np.ndarray
    blocking_class: np.ndarray
    confidence: np.ndarray
    road_fraction: float
    sidewalk_fraction: float
    profile: ColumnProfile


class BoundaryExtractor:
    """Finds the boundary in label maps; DrivableError for arrays that are not label maps.

    Raises ClassMapError where the class map does not have what `config.drivable` names.

    wanted_drivable: the train ids for which an engine may find the blocked rows, to save the
        search here; empty if a hood or a minimum confidence changes them.
    """

    def __init__(self, config: BoundaryConfig, class_map: ClassMap) -> None:
        self.config = config
        self._free = IdSet(class_map.drivable_ids(config.drivable) or (_NOTHING,))
        kept = tuple(
            entry.train_id
            for entry in class_map.classes
            if entry.group in config.speckle_kept_groups
        )
        self._speck_rule = SpeckRule(config.speckle_size, config.speckle, kept)
        self._road = _id_or_none(class_map, 'road')
        self._sidewalk = _id_or_none(class_map, 'sidewalk')
        self.wanted_drivable: Tuple[int, ...] = (
            self._free.ids if config.hood == 0 and config.min_confidence == 0 else ()
        )
        self._scratch = np.zeros((0, 0), np.uint8)

    def extract(
        self,
        labels: np.ndarray,
        confidence: Optional[np.ndarray] = None,
        scale: Optional[PixelScale] = None,
        blocked: Optional[BlockedRows] = None,
    ) -> Boundary:
        """Boundary of one label map (H, W) uint8, with its confidence map (H, W) uint8 or None.

        scale: pixels per metre on the ground, where the camera is calibrated; for specks.
        blocked: the blocked rows that the engine found; ignored unless for `wanted_drivable`.
        """
        profile = self.profile(labels, confidence, scale, blocked)
        road, sidewalk = _fractions(labels, (self._road, self._sidewalk))
        return self.summarise(profile, road, sidewalk)

    def profile(
        self,
        labels: np.ndarray,
        confidence: Optional[np.ndarray] = None,
        scale: Optional[PixelScale] = None,
        blocked: Optional[BlockedRows] = None,
    ) -> ColumnProfile:
        """First blocked pixel of every column; arguments as in `extract`."""
        _check_maps(labels, confidence)
        if self._scratch.shape != labels.shape:
            self._scratch = np.empty_like(labels)
        height, width = labels.shape
        start = height - 1 - round(self.config.hood * height)
        if start < 0:
            return _all_blocked(height, width)
        trusted = self._trusted(labels, confidence)
        if blocked and blocked.drivable == self.wanted_drivable:
            rows = blocked.rows.copy()
        else:
            rows = first_blocked_rows(trusted, self._free, np.full(width, start, np.int32))
        cleaned, rows = look_past_specks(
            trusted, rows, self._free, self._speck_rule, scale, self._scratch
        )
        classes = _at(labels, rows)  # (W,)
        # No class where nothing blocks, nor where road of too low a confidence does.
        classes[(rows == ROW_NONE) | ~self._free.excludes(classes)] = CLASS_NONE
        reached = reachable_columns(cleaned, rows, start, self._free, self.config.front)
        rows, classes = _block(rows, classes, start, reached)
        return ColumnProfile.of_pixels(
            height, rows, start, classes, _confidence_at(confidence, rows)
        )

    def summarise(
        self, profile: ColumnProfile, road_fraction: float = 0.0, sidewalk_fraction: float = 0.0
    ) -> Boundary:
        """Boundary of N columns from a profile: the lowest boundary row in each column's span."""
        nearest = nearest_in_spans(-profile.rows.astype(np.float64), self.config.columns)
        return Boundary(
            profile.height,
            profile.width,
            profile.columns[nearest].astype(np.float32),
            profile.rows[nearest],
            profile.classes[nearest],
            profile.confidence[nearest],
            road_fraction,
            sidewalk_fraction,
            profile,
        )

    def _trusted(self, labels: np.ndarray, confidence: Optional[np.ndarray]) -> np.ndarray:
        """`labels`, with pixels of too low a confidence set to CLASS_NONE; may be `_scratch`."""
        if confidence is None or self.config.min_confidence == 0:
            return labels
        least = round(self.config.min_confidence * 255)
        # 255 where the confidence is too low, 0 elsewhere; `or` keeps the label there.
        cv2.threshold(confidence, least - 1, CLASS_NONE, cv2.THRESH_BINARY_INV, dst=self._scratch)
        return cv2.bitwise_or(labels, self._scratch, dst=self._scratch)


def _block(
    rows: np.ndarray, classes: np.ndarray, start: int, reached: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Block columns that cannot be reached from the start on, by what separates them.

    rows, classes: (W,), reached: (W,) bool. The class is that of the nearest column that is
    blocked from the start on by itself.
    """
    cut_off = ~reached & (rows != start)
    if not cut_off.any():
        return rows, classes
    blockers = np.flatnonzero(rows == start)
    classes = classes.copy()
    index = np.flatnonzero(cut_off)
    classes[index] = classes[_nearest(blockers, index)] if len(blockers) else CLASS_NONE
    return np.where(cut_off, np.int32(start), rows), classes


def _all_blocked(height: int, width: int) -> ColumnProfile:
    """Profile of an image that the vehicle's hood fills."""
    rows = np.full(width, height - 1, np.int32)
    classes = np.full(width, CLASS_NONE, np.uint8)
    return ColumnProfile.of_pixels(height, rows, height - 1, classes, _confidence_at(None, rows))


def _nearest(candidates: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Nearest of the sorted, non-empty candidates (k,) for each index (n,): (n,)."""
    after = np.clip(np.searchsorted(candidates, index), 0, len(candidates) - 1)
    before = np.maximum(after - 1, 0)
    left, right = candidates[before], candidates[after]
    result: np.ndarray = np.where(np.abs(index - left) <= np.abs(right - index), left, right)
    return result


def _confidence_at(confidence: Optional[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Mean confidence (W,) of the first pixels of each blocker; of the top row where none is."""
    if confidence is None:
        return np.full(len(rows), np.nan, np.float32)
    total = np.zeros(len(rows), np.float32)
    for depth in range(_CONFIDENCE_DEPTH):
        total += _at(confidence, np.maximum(rows - depth, 0))
    return total / np.float32(255 * _CONFIDENCE_DEPTH)


def _at(image: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Value (W,) of each column's pixel in `rows` (W,); ROW_NONE, -1, gives the last row's."""
    height, width = image.shape
    values: np.ndarray = image.ravel().take(rows % height * width + np.arange(width))
    return values


def _fractions(labels: np.ndarray, ids: Sequence[Optional[int]]) -> List[float]:
    """Share of the pixels that each class has, estimated from some 300 rows; 0 for None."""
    counts: List[int] = [0] * len(ids)
    seen = labels[:: max(1, len(labels) // _FRACTION_ROWS)]
    for top in range(0, len(seen), _BAND):
        band = seen[top : top + _BAND]
        for index, train_id in enumerate(ids):
            if train_id is not None:
                counts[index] += int(np.count_nonzero(band == np.uint8(train_id)))
    return [count / seen.size for count in counts]


def _id_or_none(class_map: ClassMap, name: str) -> Optional[int]:
    return class_map.names.index(name) if name in class_map.names else None


def _check_maps(labels: np.ndarray, confidence: Optional[np.ndarray]) -> None:
    if labels.ndim != 2 or labels.size == 0 or labels.dtype != np.uint8:
        raise DrivableError(
            f'a label map is (height, width) uint8 and not empty; '
            f'this one is {labels.shape} {labels.dtype}'
        )
    if confidence is not None and (
        confidence.shape != labels.shape or confidence.dtype != np.uint8
    ):
        raise DrivableError(
            f"a confidence map is uint8 of the label map's size {labels.shape}; "
            f'this one is {confidence.shape} {confidence.dtype}'
        )
