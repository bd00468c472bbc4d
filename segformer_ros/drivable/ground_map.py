# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Ground map: a rolling occupancy grid of what all cameras see around the vehicle over time."""

from __future__ import annotations

import math
from typing import Dict, NamedTuple, Optional, Set

import cv2
import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drivable.grid import OCCUPIED, UNKNOWN, GridConfig, GridNumbers, free_cells
from segformer_ros.drivable.ground_points import ground_names
from segformer_ros.drivable.observation import STEP, GroundObservation, MapConfig, by_class
from segformer_ros.drivable.odometry import JumpDetector, PlanarPose
from segformer_ros.drivable.profile import CLASS_NONE, DrivableError
from segformer_ros.drivable.unseen import KnownGround, Reached, UnseenTraffic, moved_cells

_NANOSECONDS = 1_000_000_000
# Log-odds, and the probabilities that they stand for. Of one observation from close by: 0.71 free,
# 0.80 occupied; at which they saturate: 0.12 and 0.97; below and above which a cell counts as free
# and as occupied (between them it is unknown).
_FREE, _OCCUPIED = 0.875, 1.375
_MOST_FREE, _MOST_OCCUPIED = -2.0, 3.5
_SURELY_FREE, _SURELY_OCCUPIED = -0.4, 0.2
_SAME = 0.05  # m; the weight of free ground is tabulated at this step of the distance
_SIGMA = 0.5  # m; an observation with this deviation has half the weight
_LEAST_WEIGHT = np.float32(0.3125)  # of a blocker, however far away
_QUANTUM = 64.0  # weights are multiples of 1 / 64: the sums of a round are exact in any order
_TOGETHER_NS = _NANOSECONDS // 50  # frames within 20 ms make up one round
_NEWEST_NS = _NANOSECONDS  # for how long a camera's last frame counts as current
_BACKWARDS_NS = _NANOSECONDS  # a stamp further back than this means that time was reset


class _Cells(NamedTuple):
    """The cells (H, W) with a round's frames fused in; see GroundMap._clear."""

    odds: np.ndarray
    ground: np.ndarray
    blocker: np.ndarray
    reached: Reached


class _Blocked(NamedTuple):
    """Cells (n,) int, row * width + column, that a camera's newest frame shows blocked."""

    cells: np.ndarray
    classes: np.ndarray


class GroundMap:
    """A rolling occupancy grid, fixed in the odometry frame, in log-odds.

    A round is a synchronized set of frames (one of each camera, within 20 ms); their order makes
    no difference. A frame marks cells free that it sees entirely free, and occupied where blockers
    touch the ground. A blocker takes effect at once, whatever was free before. Free ground is not
    remembered where unseen traffic may have come. All cells decay with time. Duplicate and late
    frames are ignored, and the map is reset where time or odometry jumps.

    Raises DrivableError for names in `costs` and `half_lives` that the class map does not have.
    """

    def __init__(self, config: MapConfig, class_map: ClassMap) -> None:
        self.config = config
        ground = set(class_map.ids(*ground_names(class_map)))
        costs = by_class(config.costs, class_map)
        lives = by_class(config.half_lives, class_map)
        #: By class, (256,) each: value of a cell, int8; whether it is ground; half-life, s.
        self._cost = np.full(256, OCCUPIED, np.int8)
        self._is_ground = np.zeros(256, bool)
        self._half_life = np.full(256, config.blocker_half_life)
        for entry in class_map.classes:
            class_id = entry.train_id
            self._cost[class_id] = costs.get(class_id, 50 if class_id in ground else OCCUPIED)
            self._is_ground[class_id] = class_id in ground
            usual = config.half_life if class_id in ground else config.blocker_half_life
            self._half_life[class_id] = lives.get(class_id, usual)
        #: By class: value of a free cell, int8; precedence in a cell that shows several (the
        #: costliest first, then the lower id); whether vehicles drive on it (the cheapest ground).
        self._value = np.where(self._is_ground, self._cost, np.int8(UNKNOWN))
        self._rank = self._cost.astype(np.intp) * 256 + 255 - np.arange(256)
        least = self._cost[self._is_ground].min(initial=OCCUPIED)
        self._driven = (self._is_ground & (self._cost == least)).astype(np.uint8)
        self._traffic = UnseenTraffic(config.unseen_speed, class_map)
        self._cameras: Dict[str, int] = {}
        self._fused: Optional[_Cells] = None
        self._round_ns = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._extent: Optional[GridConfig] = None
        self._stamp_ns = self._faded_ns = 0
        self._stamps: Dict[str, int] = {}
        self._blocked: Dict[str, _Blocked] = {}
        self._jumps = JumpDetector()
        self._place = PlanarPose(0.0, 0.0, 0.0)
        self._clear(1, 1)

    @property
    def driven(self) -> np.ndarray:
        """Class ids (n,) of the cheapest ground, which vehicles drive on."""
        return np.flatnonzero(self._driven)

    @property
    def stamp_ns(self) -> int:
        """Stamp of the newest frame; 0 where there is none."""
        return self._stamp_ns

    def cost_of(self, class_id: int) -> int:
        """Value of a cell where a class is seen, 0..100."""
        return int(self._cost[class_id])

    def add(self, camera: str, stamp_ns: int, place: PlanarPose, seen: GroundObservation) -> bool:
        """Add one camera's frame; place: of the vehicle in the map's frame at its stamp.

        False for a frame that is ignored: a duplicate, one older than the camera's last, or more
        than a second older than another camera's.
        """
        if not all(map(math.isfinite, place)):
            raise DrivableError(f'odometry gives {tuple(place)}, which is not finite')
        behind = self._stamps.get(camera, stamp_ns - 1) - stamp_ns
        if 0 <= behind <= _BACKWARDS_NS:
            return False
        if behind < 0 and self._stamp_ns - stamp_ns > _BACKWARDS_NS:
            return False
        if behind > 0 or self._jumps.jumped(stamp_ns, place):
            self.reset()
            self._jumps.jumped(stamp_ns, place)
        if camera in self._round or stamp_ns - self._round_ns > _TOGETHER_NS:
            self._end_round()
            self._round_ns = stamp_ns
        self._round.add(camera)
        self._place = place
        self._stamps[camera] = stamp_ns
        self._stamp_ns = max(self._stamp_ns, stamp_ns)
        self._fused = None
        self._follow(place)
        self._mark_free(camera, place, seen)
        self._mark_blocked(camera, place, seen)
        return True

    def forget(self, camera: str) -> None:
        """Make the free cells of a camera that has failed unknown: nobody watches them now."""
        number = self._cameras.get(camera)
        if number is not None:
            self._end_round()
            mine = self._seen_by == number  # (H, W) bool
            np.maximum(self._odds, 0.0, out=self._odds, where=mine)
            self._fused = None

    def numbers(self) -> Optional[GridNumbers]:
        """The map as nav_msgs/OccupancyGrid has it, 0..100 and UNKNOWN; None before any frame."""
        if self._extent is None:
            return None
        odds, ground, blocker, _ = self._fused_cells()
        cells = np.asarray(cv2.LUT(ground, self._value))  # (H, W) int8
        cells[odds > _SURELY_FREE] = UNKNOWN
        flat = cells.reshape(-1)
        occupied = np.flatnonzero(odds >= _SURELY_OCCUPIED)
        flat[occupied] = self._cost[blocker.reshape(-1)[occupied]]
        for camera, blocked in self._blocked.items():
            if self._stamp_ns - self._stamps[camera] > _NEWEST_NS:
                continue
            flat[blocked.cells] = np.maximum(flat[blocked.cells], self._cost[blocked.classes])
        extent = self._extent
        return GridNumbers(extent.resolution, extent.x_min, extent.y_min, cells)

    # --- One frame ----------------------------------------------------------------------------

    def _mark_free(self, camera: str, place: PlanarPose, seen: GroundObservation) -> None:
        extent = self._extent
        assert extent is not None
        free = free_cells(extent, [place.apply(outline) for outline in seen.outlines])  # (H, W)
        index = np.flatnonzero(free.view(bool))  # (n,) cells, row * width + column
        if not len(index):
            return
        rows, columns = np.divmod(index, extent.width)
        x = (columns + 0.5) * extent.resolution + extent.x_min
        y = (rows + 0.5) * extent.resolution + extent.y_min
        points = place.undo(np.stack([x, y], axis=1))  # (n, 2), of the cells' middles
        # A cell's middle lies between two pixels: the costlier of their classes counts.
        above, below = seen.classes(points)  # (n,) each
        ground = np.where(self._cost[above] > self._cost[below], above, below)
        known = np.flatnonzero(self._is_ground[above] & self._is_ground[below])
        index, ground = index[known], ground[known]
        distance = seen.distance(points.take(known, axis=0))
        table = _weight(seen.sigma(np.arange(0.0, distance.max(initial=0.0) + _SAME, _SAME)))
        weight = table[(distance / _SAME).astype(np.intp)]
        self._more_free.reshape(-1)[index] += weight * np.float32(_FREE)
        # If the cameras of a round disagree on the class, the higher rank wins.
        flat = self._new_ground.reshape(-1)
        before = flat[index]
        better = (before == CLASS_NONE) | (self._rank[ground] > self._rank[before])
        flat[index] = np.where(better, ground, before)
        self._seen_by.reshape(-1)[index] = self._cameras.setdefault(camera, len(self._cameras))

    def _mark_blocked(self, camera: str, place: PlanarPose, seen: GroundObservation) -> None:
        extent = self._extent
        assert extent is not None
        blockers = seen.blockers
        points = (place.apply(blockers.points) - (extent.x_min, extent.y_min)) / extent.resolution
        inside = np.flatnonzero(((points >= 0) & (points < (extent.width, extent.height))).all(1))
        points, classes = points[inside], blockers.classes[inside]
        column, row = points.astype(np.intp).T
        index = row * extent.width + column
        rays = PlanarPose(0.0, 0.0, place.yaw).apply(blockers.rays[inside])
        sigma, resolution = blockers.sigma[inside], self.config.resolution
        self._traffic.see(points, rays, sigma, classes, resolution, self._known())
        weight = np.maximum(_weight(blockers.sigma[inside]), _LEAST_WEIGHT)
        # A cell with several points counts as one observation: the surest of its costliest class,
        # which is the last of the cell's points in this order.
        order = np.lexsort((weight, self._rank[classes], index))
        last = np.append(np.diff(index[order]) != 0, True)[: len(order)]
        chosen = order[last]
        index, classes, weight = index[chosen], classes[chosen], weight[chosen]
        flat = self._more_blocked.reshape(-1)
        flat[index] += weight * np.float32(_OCCUPIED)
        blocker = self._new_blocker.reshape(-1)
        before = blocker[index]
        better = (before == CLASS_NONE) | (self._rank[classes] > self._rank[before])
        blocker[index] = np.where(better, classes, before)
        self._blocked[camera] = _Blocked(index, classes)

    # --- Rounds -------------------------------------------------------------------------------

    def _clear(self, height: int, width: int) -> None:
        shape = (height, width)
        #: Of the cells: log-odds (below 0 free, above 0 occupied, 0 unknown), class of the ground
        #: and of the blocker, and the number of the camera that last saw it free (-1: none).
        self._odds = np.zeros(shape, np.float32)
        self._ground = np.full(shape, CLASS_NONE, np.uint8)
        self._blocker = np.full(shape, CLASS_NONE, np.uint8)
        self._seen_by = np.full(shape, -1, np.int16)
        #: What the frames of this round add to them.
        self._more_free = np.zeros(shape, np.float32)
        self._more_blocked = np.zeros(shape, np.float32)
        self._traffic.clear(height, width)
        self._new_ground = np.full(shape, CLASS_NONE, np.uint8)
        self._new_blocker = np.full(shape, CLASS_NONE, np.uint8)
        #: Cameras of this round, and the stamp of its first frame.
        self._round: Set[str] = set()
        self._round_ns = 0
        self._fused = None

    def _fused_cells(self) -> _Cells:
        """The cells with this round's frames so far; computed once until the next frame."""
        if self._fused is None:
            self._fused = self._fuse()
        return self._fused

    def _known(self) -> KnownGround:
        free = self._odds <= _SURELY_FREE
        return KnownGround(free, self._ground, self._more_free > 0, self._driven)

    def _fuse(self) -> _Cells:
        extent = self._extent
        assert extent is not None
        seconds = (self._stamp_ns - self._faded_ns) / _NANOSECONDS if self._faded_ns else 0.0
        reached = self._traffic.reached(seconds, extent, self._place, self._known())
        odds = self._odds * self._decay()  # (H, W)
        odds[reached.doubtful & (odds < 0)] = 0
        # Where something stands now, free log-odds are dropped: it need not outweigh them first.
        blocked = np.flatnonzero(self._more_blocked > 0)  # (n,)
        before = np.maximum(odds.reshape(-1)[blocked], 0)
        odds -= self._more_free
        odds.reshape(-1)[blocked] = before + self._more_blocked.reshape(-1)[blocked]
        np.clip(odds, _MOST_FREE, _MOST_OCCUPIED, out=odds)
        ground = np.where(self._new_ground != CLASS_NONE, self._new_ground, self._ground)
        blocker = self._blocker.copy()
        blocker.reshape(-1)[blocked] = self._new_blocker.reshape(-1)[blocked]
        return _Cells(odds, ground, blocker, reached)

    def _end_round(self) -> None:
        if not self._round:
            return
        self._odds, self._ground, self._blocker, reached = self._fused_cells()
        self._traffic.keep(reached)
        self._fused = None
        self._more_free.fill(0)
        self._more_blocked.fill(0)
        self._new_ground.fill(CLASS_NONE)
        self._new_blocker.fill(CLASS_NONE)
        self._round.clear()
        self._faded_ns = self._stamp_ns

    def _decay(self) -> np.ndarray:
        """Share of the cells' log-odds that is left at the newest stamp: (H, W) float32."""
        seconds = (self._stamp_ns - self._faded_ns) / _NANOSECONDS
        share = np.exp2(-seconds / self._half_life).astype(np.float32)  # (256,) by class
        left = np.asarray(cv2.LUT(self._ground, share))  # (H, W)
        blocked = np.flatnonzero(self._odds > 0)
        left.reshape(-1)[blocked] = share[self._blocker.reshape(-1)[blocked]]
        return left

    def _follow(self, place: PlanarPose) -> None:
        """Shift the grid when the vehicle has left its middle; cells that fall off are lost."""
        old = self._extent
        if old is not None:
            middle = ((old.x_min + old.x_max) / 2, (old.y_min + old.y_max) / 2)
            if max(abs(place.x - middle[0]), abs(place.y - middle[1])) <= STEP:
                return
        middle = (round(place.x / STEP) * STEP, round(place.y / STEP) * STEP)
        new = self._extent = self.config.extent(*middle)
        if old is None:
            self._clear_for(new)
            return
        dx = round((new.x_min - old.x_min) / new.resolution)
        dy = round((new.y_min - old.y_min) / new.resolution)
        self._traffic.move(dy, dx)
        cells = {'_odds': 0, '_ground': CLASS_NONE, '_blocker': CLASS_NONE, '_seen_by': -1}
        if len(self._round) > 1:  # else no frame has added to it
            cells.update(_more_free=0, _more_blocked=0)
            cells.update(_new_ground=CLASS_NONE, _new_blocker=CLASS_NONE)
        for name, empty in cells.items():
            setattr(self, name, moved_cells(getattr(self, name), dy, dx, empty))
        self._blocked = {
            camera: _moved_blocked(blocked, dy, dx, new.height, new.width)
            for camera, blocked in self._blocked.items()
        }

    def _clear_for(self, extent: GridConfig) -> None:
        started, began = self._round, self._round_ns
        self._clear(extent.height, extent.width)
        self._round, self._round_ns = started, began


def _weight(sigma: np.ndarray) -> np.ndarray:
    """Weight (n,) float32, 0..1, of observations with these standard deviations (n,), m."""
    weight = np.fmax(1.0 / (1.0 + np.square(sigma / _SIGMA)), 0.0)  # 0 for NaN
    return (np.round(weight * _QUANTUM) / _QUANTUM).astype(np.float32)


def _moved_blocked(blocked: _Blocked, dy: int, dx: int, height: int, width: int) -> _Blocked:
    rows, columns = np.divmod(blocked.cells, width)
    rows, columns = rows - dy, columns - dx
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return _Blocked((rows * width + columns)[inside], blocked.classes[inside])
