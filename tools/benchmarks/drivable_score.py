# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Scores of the drivable area against a generated drive, whose geometry is known exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from itertools import pairwise

import numpy as np

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.drivable import DrivableArea, GridNumbers
from segformer_ros.drivable.grid import FREE, OCCUPIED
from tools.street import Drive, StreetFrame

ROAD = 0


@dataclass
class ColumnScores:
    """One entry for each column whose true blocker touches the ground inside the image.

    true, measured: free distance, m; measured may be inf or 0. sigma: as reported, m. blocker:
    true class.
    footprint: ground that the pixel at the true contact spans, m. right: the class is that of the
    image column that was measured. nearest_right: it is that of the span's nearest blocker.
    ambiguous: another blocker of the span is as near as to within one pixel, and has that class.
    """

    true: list[float] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)
    sigma: list[float] = field(default_factory=list)
    footprint: list[float] = field(default_factory=list)
    blocker: list[int] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    nearest_right: list[bool] = field(default_factory=list)
    ambiguous: list[bool] = field(default_factory=list)

    def extend(self, other: ColumnScores) -> None:
        """Add the entries of other columns."""
        for each in fields(self):
            getattr(self, each.name).extend(getattr(other, each.name))


@dataclass
class FrameScores:
    """Scores over all frames: the columns, and counts of columns and grid cells.

    seen: columns that see the ground. right_anywhere: those of them whose class is that of the
    image column that was measured, be its blocker in view, below the image, or none. false_far:
    columns with no blocker to see, or blocked from the bottom on, called freer than they are.
    false_cells: free cells whose middle is not free in the world; beyond_border: those that have
    no free ground within one cell either.
    """

    columns: ColumnScores = field(default_factory=ColumnScores)
    frames: int = 0
    seen: int = 0
    right_anywhere: int = 0
    false_far: int = 0
    free_cells: int = 0
    occupied_cells: int = 0
    false_cells: int = 0
    beyond_border: int = 0

    @classmethod
    def merged(cls, parts: Iterable[FrameScores]) -> FrameScores:
        """Scores of all the frames of some scores."""
        total = cls()
        for part in parts:
            total.columns.extend(part.columns)
            for each in fields(cls)[1:]:
                setattr(total, each.name, getattr(total, each.name) + getattr(part, each.name))
        return total

    def add(
        self, drive: Drive, index: int, frame: StreetFrame, area: DrivableArea, grid: GridNumbers
    ) -> None:
        """Add frame `index` of a drive, and what was made of it."""
        self.frames += 1
        self._add_columns(drive, frame, area)
        self._add_cells(drive, index, grid)

    def _add_columns(self, drive: Drive, frame: StreetFrame, area: DrivableArea) -> None:
        count = len(area.column)
        nearest = nearest_in_spans(frame.free_distance, count)
        true, measured = frame.free_distance[nearest], area.free_distance
        sees = ~np.isnan(measured)
        contact = sees & np.isfinite(true) & (true > 0)
        self.seen += int(np.count_nonzero(sees))
        self.false_far += int(np.count_nonzero(sees & ~contact & (measured > true)))
        depth = footprints(drive.calibration, drive.pose, frame.labels)
        own = frame.free_blocker[area.column.astype(int)]
        self.right_anywhere += int(np.count_nonzero(sees & (area.blocking_class == own)))
        classes = near_classes(frame, depth, nearest, count)
        scores = self.columns
        for i in np.flatnonzero(contact):
            named, blocker = int(area.blocking_class[i]), int(frame.free_blocker[nearest[i]])
            scores.true.append(float(true[i]))
            scores.measured.append(float(measured[i]))
            scores.sigma.append(float(area.distance_sigma[i]))
            scores.footprint.append(float(depth[nearest[i]]))
            scores.blocker.append(blocker)
            scores.right.append(named == own[i])
            scores.nearest_right.append(named == blocker)
            scores.ambiguous.append(not scores.nearest_right[-1] and named in classes[i])

    def _add_cells(self, drive: Drive, index: int, grid: GridNumbers) -> None:
        iy, ix = np.nonzero(grid.cells == FREE)
        self.free_cells += len(ix)
        self.occupied_cells += int(np.count_nonzero(grid.cells == OCCUPIED))
        corner = np.array([grid.origin_x, grid.origin_y])
        middle = corner + (np.stack([ix, iy], axis=1) + 0.5) * grid.resolution
        wrong = middle[~drive.free_at(middle, index)] if len(middle) else middle
        self.false_cells += len(wrong)
        if len(wrong):
            steps = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(9, 2)
            around = (wrong[:, None] + steps * grid.resolution).reshape(-1, 2)
            free = drive.free_at(around, index).reshape(-1, 9).any(axis=1)
            self.beyond_border += int(np.count_nonzero(~free))


def span_edges(width: int, count: int) -> np.ndarray:
    """First pixel column of each of `count` equal spans, and the width: (count + 1,) int."""
    return np.round(np.linspace(0, width, count + 1)).astype(int)


def nearest_in_spans(distance: np.ndarray, count: int) -> np.ndarray:
    """Pixel column with the smallest distance (W,) in each span: (count,) int."""
    edges = span_edges(len(distance), count)
    return np.array([a + int(np.argmin(distance[a:b])) for a, b in pairwise(edges)])


def near_classes(
    frame: StreetFrame, depth: np.ndarray, nearest: np.ndarray, count: int
) -> list[set[int]]:
    """Classes of each span's blockers that are the nearest to within one pixel's footprint."""
    result = []
    for (a, b), at in zip(pairwise(span_edges(len(depth), count)), nearest, strict=True):
        close = frame.free_distance[a:b] <= frame.free_distance[at] + depth[at]
        result.append(set(frame.free_blocker[a:b][close].tolist()))
    return result


def footprints(calibration: Calibration, pose: CameraPose, labels: np.ndarray) -> np.ndarray:
    """Ground depth (W,) m between the last road pixel of each column and the first that is not.

    inf where the upper one's ray does not meet the ground, or nothing blocks.
    """
    blocked = labels[::-1] != ROAD
    rows = len(labels) - 1 - blocked.argmax(axis=0)
    columns = np.arange(labels.shape[1])
    far = ground_range(calibration, pose, columns, rows)
    near = ground_range(calibration, pose, columns, rows + 1)
    with np.errstate(invalid='ignore'):
        return np.where(blocked.any(axis=0) & np.isfinite(far), far - near, np.inf)


def ground_range(
    calibration: Calibration, pose: CameraPose, columns: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Ground distance (n,) m from the camera's foot of pixels (n,); inf where there is none."""
    pixels = np.stack([columns, rows], axis=-1).astype(float)
    rays = calibration.unproject(pixels) @ pose.rotation().T
    with np.errstate(divide='ignore', invalid='ignore'):
        scale = np.where(rays[:, 2] < 0, -pose.height / rays[:, 2], np.inf)
        distance: np.ndarray = np.hypot(rays[:, 0], rays[:, 1]) * scale
    return distance
