# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Ground map: what all cameras have seen of the ground around the vehicle, with a memory."""

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
_FREE, _OCCUPIED = 0.875, 1.375  # log-odds of one look from near by: 0.71 and 0.80
_MOST_FREE, _MOST_OCCUPIED = -2.0, 3.5  # log-odds at which more looks add nothing: 0.12, 0.97
_SURELY_FREE, _SURELY_OCCUPIED = -0.4, 0.2  # log-odds; what is between is unknown
_SAME = 0.05  # m between two distances that count alike
_SIGMA = 0.5  # m: a look whose deviation is this counts half
_LEAST_WEIGHT = np.float32(0.3125)  # of what stands somewhere, however far
_QUANTUM = 64.0  # all log-odds are multiples of 1 / 512: their sums do not depend on the order
_TOGETHER_NS = _NANOSECONDS // 50  # frames of one moment
_NEWEST_NS = _NANOSECONDS  # for how long a camera's last frame is its newest
_BACKWARDS_NS = _NANOSECONDS  # time that goes back by more has begun anew


class _Round(NamedTuple):
    """The cells (H, W) with what a round adds; see GroundMap._clear."""

    odds: np.ndarray
    ground: np.ndarray
    blocker: np.ndarray
    reached: Reached


class _Blocked(NamedTuple):
    """Cells (n,) int, row * width + column, that a camera's newest frame calls blocked."""

    cells: np.ndarray
    classes: np.ndarray


class GroundMap:
    """An occupancy grid that stays where it is while the vehicle drives, in log-odds.

    Frames of one round (each camera once, within 20 ms) are taken together, whatever their order.
    A frame makes ground free as far as it sees all of a cell, and blocked at the contacts of what
    stands on it. What stands somewhere counts at once, against all memory. Where there may be
    unseen traffic, ground is not free by memory. Everything fades with time. A frame that came
    before counts nothing, and where time or odometry jumps the map starts anew.

    Raises DrivableError for names in `costs` and `half_lives` that the class map does not have.
    """

    def __init__(self, config: MapConfig, class_map: ClassMap) -> None:
        self.config = config
        ground = set(class_map.ids(*ground_names(class_map)))
        costs = by_class(config.costs, class_map)
        lives = by_class(config.half_lives, class_map)
        #: By class: value of a cell, int8; half-life, s.
        self._cost = np.full(256, OCCUPIED, np.int8)
        self._is_ground = np.zeros(256, bool)
        self._half_life = np.full(256, config.blocker_half_life)
        for entry in class_map.classes:
            class_id = entry.train_id
            self._cost[class_id] = costs.get(class_id, 50 if class_id in ground else OCCUPIED)
            self._is_ground[class_id] = class_id in ground
            usual = config.half_life if class_id in ground else config.blocker_half_life
            self._half_life[class_id] = lives.get(class_id, usual)
        #: Value of a cell that is free, int8; order of the classes by what a planner should think
        #: of them first; what vehicles drive on, the ground of the least cost.
        self._value = np.where(self._is_ground, self._cost, np.int8(UNKNOWN))
        self._rank = self._cost.astype(np.intp) * 256 + 255 - np.arange(256)
        least = self._cost[self._is_ground].min(initial=OCCUPIED)
        self._driven = (self._is_ground & (self._cost == least)).astype(np.uint8)
        self._traffic = UnseenTraffic(config.unseen_speed, class_map)
        self._cameras: Dict[str, int] = {}
        self._with_round: Optional[_Round] = None
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
        """Classes of the ground that costs least, which vehicles drive on: (n,)."""
        return np.flatnonzero(self._driven)

    @property
    def stamp_ns(self) -> int:
        """Stamp of the newest frame; 0 where there is none."""
        return self._stamp_ns

    def cost_of(self, class_id: int) -> int:
        """Value of a cell where a class is seen, 0..100."""
        return int(self._cost[class_id])

    def add(self, camera: str, stamp_ns: int, place: PlanarPose, seen: GroundObservation) -> bool:
        """Take in one camera's frame; place: of the vehicle in the map's frame at its stamp.

        False for a frame that counts nothing: one that came before, one older than the camera's
        last, or a second older than another camera's.
        """
        if not all(map(math.isfinite, place)):
            raise DrivableError(f'odometry gives {tuple(place)}, which is no place')
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
        self._with_round = None
        self._follow(place)
        self._see_free(camera, place, seen)
        self._see_blocked(camera, place, seen)
        return True

    def forget(self, camera: str) -> None:
        """Give up what a camera made free that has failed: what comes there now is not seen."""
        number = self._cameras.get(camera)
        if number is not None:
            self._end_round()
            mine = self._seen_by == number
            np.maximum(self._odds, 0.0, out=self._odds, where=mine)
            self._with_round = None

    def numbers(self) -> Optional[GridNumbers]:
        """The map as nav_msgs/OccupancyGrid has it, 0..100 and UNKNOWN; None before any frame."""
        if self._extent is None:
            return None
        odds, ground, blocker, _ = self._rounded()
        cells = np.asarray(cv2.LUT(ground, self._value))
        cells[odds > _SURELY_FREE] = UNKNOWN
        full = np.flatnonzero(odds >= _SURELY_OCCUPIED)
        cells.reshape(-1)[full] = self._cost[blocker.reshape(-1)[full]]
        flat = cells.reshape(-1)
        for camera, blocked in self._blocked.items():
            if self._stamp_ns - self._stamps[camera] > _NEWEST_NS:
                continue
            flat[blocked.cells] = np.maximum(flat[blocked.cells], self._cost[blocked.classes])
        extent = self._extent
        return GridNumbers(extent.resolution, extent.x_min, extent.y_min, cells)

    # --- One frame ----------------------------------------------------------------------------

    def _see_free(self, camera: str, place: PlanarPose, seen: GroundObservation) -> None:
        extent = self._extent
        assert extent is not None
        free = free_cells(extent, [place.apply(outline) for outline in seen.outlines])
        index = np.flatnonzero(free.view(bool))
        if not len(index):
            return
        rows, columns = np.divmod(index, extent.width)
        x = (columns + 0.5) * extent.resolution + extent.x_min
        y = (rows + 0.5) * extent.resolution + extent.y_min
        points = place.undo(np.stack([x, y], axis=1))  # (n, 2), of the cells' middles
        above, below = seen.classes(points)
        ground = np.where(self._cost[above] > self._cost[below], above, below)
        known = np.flatnonzero(self._is_ground[above] & self._is_ground[below])
        index, ground = index[known], ground[known]
        distance = seen.distance(points.take(known, axis=0))
        table = _weight(seen.sigma(np.arange(0.0, distance.max(initial=0.0) + _SAME, _SAME)))
        weight = table[(distance / _SAME).astype(np.intp)]
        self._more_free.reshape(-1)[index] += weight * np.float32(_FREE)
        # Of a round's classes the costliest, of which the lower id.
        flat = self._new_ground.reshape(-1)
        before = flat[index]
        fresh = before == CLASS_NONE
        rank, old = self._rank[ground], self._rank[before]
        flat[index] = np.where(fresh | (rank > old), ground, before)
        self._seen_by.reshape(-1)[index] = self._cameras.setdefault(camera, len(self._cameras))

    def _see_blocked(self, camera: str, place: PlanarPose, seen: GroundObservation) -> None:
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
        # One look at a cell, however many points it has: the surest, of the costliest class.
        order = np.lexsort((classes, self._cost[classes], index))
        last = np.append(np.diff(index[order]) != 0, True)[: len(order)]
        chosen = order[last]
        index, classes, weight = index[chosen], classes[chosen], weight[chosen]
        flat = self._more_blocked.reshape(-1)
        flat[index] += weight * np.float32(_OCCUPIED)
        names = self._new_blocker.reshape(-1)
        before = names[index]
        better = (before == CLASS_NONE) | (self._rank[classes] > self._rank[before])
        names[index] = np.where(better, classes, before)
        self._blocked[camera] = _Blocked(index, classes)

    # --- Rounds -------------------------------------------------------------------------------

    def _clear(self, height: int, width: int) -> None:
        shape = (height, width)
        #: Log-odds of the cells: below 0 free, above 0 blocked, 0 unknown.
        self._odds = np.zeros(shape, np.float32)
        self._ground = np.full(shape, CLASS_NONE, np.uint8)
        self._blocker = np.full(shape, CLASS_NONE, np.uint8)
        self._seen_by = np.full(shape, -1, np.int16)
        #: What the frames of this round add.
        self._more_free = np.zeros(shape, np.float32)
        self._more_blocked = np.zeros(shape, np.float32)
        self._traffic.clear(height, width)
        self._new_ground = np.full(shape, CLASS_NONE, np.uint8)
        self._new_blocker = np.full(shape, CLASS_NONE, np.uint8)
        self._round: Set[str] = set()
        self._round_ns = 0
        self._with_round = None

    def _rounded(self) -> _Round:
        """The cells with this round's frames."""
        if self._with_round is None:
            self._with_round = self._add_round()
        return self._with_round

    def _known(self) -> KnownGround:
        free = self._odds <= _SURELY_FREE
        return KnownGround(free, self._ground, self._more_free > 0, self._driven)

    def _add_round(self) -> _Round:
        extent = self._extent
        assert extent is not None
        seconds = (self._stamp_ns - self._faded_ns) / _NANOSECONDS if self._faded_ns else 0.0
        reached = self._traffic.reached(seconds, extent, self._place, self._known())
        odds = self._odds * self._faded()
        odds[reached.doubtful & (odds < 0)] = 0
        blocked = np.flatnonzero(self._more_blocked > 0)
        before = np.maximum(odds.reshape(-1)[blocked], 0)
        odds -= self._more_free
        odds.reshape(-1)[blocked] = before + self._more_blocked.reshape(-1)[blocked]
        np.clip(odds, _MOST_FREE, _MOST_OCCUPIED, out=odds)
        ground = np.where(self._new_ground != CLASS_NONE, self._new_ground, self._ground)
        blocker = self._blocker.copy()
        blocker.reshape(-1)[blocked] = self._new_blocker.reshape(-1)[blocked]
        return _Round(odds, ground, blocker, reached)

    def _end_round(self) -> None:
        if not self._round:
            return
        done = self._rounded()
        self._odds, self._ground, self._blocker = done[:3]
        self._traffic.keep(done.reached)
        self._with_round = None
        self._more_free.fill(0)
        self._more_blocked.fill(0)
        self._new_ground.fill(CLASS_NONE)
        self._new_blocker.fill(CLASS_NONE)
        self._round.clear()
        self._faded_ns = self._stamp_ns

    def _faded(self) -> np.ndarray:
        """What is left of the cells' log-odds at the newest stamp: shares (H, W) float32."""
        seconds = (self._stamp_ns - self._faded_ns) / _NANOSECONDS
        share = np.exp2(-seconds / self._half_life).astype(np.float32)  # (256,)
        left = np.asarray(cv2.LUT(self._ground, share))
        blocked = np.flatnonzero(self._odds > 0)
        left.reshape(-1)[blocked] = share[self._blocker.reshape(-1)[blocked]]
        return left

    def _follow(self, place: PlanarPose) -> None:
        """Move the map on where the vehicle has left its middle; what leaves it is forgotten."""
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
    """Share (n,) float32 of a look that counts at these deviations, m."""
    weight = np.fmax(1.0 / (1.0 + np.square(sigma / _SIGMA)), 0.0)  # 0 where it is not known
    return (np.round(weight * _QUANTUM) / _QUANTUM).astype(np.float32)


def _moved_blocked(blocked: _Blocked, dy: int, dx: int, height: int, width: int) -> _Blocked:
    rows, columns = np.divmod(blocked.cells, width)
    rows, columns = rows - dy, columns - dx
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return _Blocked((rows * width + columns)[inside], blocked.classes[inside])
