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
from typing import Dict, List, NamedTuple, Optional, Set

import cv2
import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drivable.grid import OCCUPIED, UNKNOWN, GridConfig, GridNumbers, free_cells
from segformer_ros.drivable.ground_points import ground_names
from segformer_ros.drivable.observation import STEP, GroundObservation, MapConfig, by_class
from segformer_ros.drivable.odometry import JumpDetector, PlanarPose
from segformer_ros.drivable.profile import CLASS_NONE, DrivableError

_NANOSECONDS = 1_000_000_000
_FREE, _OCCUPIED = 0.875, 1.375  # log-odds of one look from near by: 0.71 and 0.80
_MOST_FREE, _MOST_OCCUPIED = -2.0, 3.5  # log-odds at which more looks add nothing: 0.12, 0.97
_SURELY_FREE, _SURELY_OCCUPIED = -0.4, 0.2  # log-odds; what is between is unknown
_SAME = 0.05  # m between two distances that count alike
_SIGMA = 0.5  # m: a look whose deviation is this counts half
_LEAST_WEIGHT = np.float32(0.3125)  # of what stands somewhere, however far
_QUANTUM = 64.0  # all log-odds are multiples of 1 / 512: their sums do not depend on the order
_NEWEST_NS = _NANOSECONDS  # for how long a camera's last frame is its newest
_BACKWARDS_NS = _NANOSECONDS  # time that goes back by more has begun anew
_LONG = {'truck': 18.0, 'bus': 18.0, 'train': 30.0}
_COME = 0.2  # m, beyond the deviation, by which what moves has come nearer
_LEAST_MOVED = 3  # contacts that must have
_FARTHEST = 200  # cells that anything may go between two frames
_AT_LARGE = 3.0  # s for which what moves and is out of sight may turn up again
_ACROSS = 1.5  # m/s that vehicles go across the road
_OWN = np.array([[0.0, -1.0], [5.0, -1.0], [5.0, 1.0], [0.0, 1.0]])  # m, before the vehicle


class _Kind(NamedTuple):
    """What moves: m of ground that may be under one, m/s that it may go."""

    depth: float
    speed: float


_KINDS: Dict[str, _Kind] = {'human': _Kind(1.0, 2.0), 'vehicle': _Kind(6.0, 14.0)}
"""By group."""


class _Round(NamedTuple):
    """The cells (H, W) with what a round adds; see GroundMap._clear."""

    odds: np.ndarray
    ground: np.ndarray
    blocker: np.ndarray
    at_large: List[np.ndarray]
    unwatched: np.ndarray


class _Blocked(NamedTuple):
    """Cells (n,) int, row * width + column, that a camera's newest frame calls blocked."""

    cells: np.ndarray
    classes: np.ndarray


class GroundMap:
    """An occupancy grid that stays where it is while the vehicle drives, in log-odds.

    Frames of one round (each camera once) are taken together, whatever their order. A frame makes
    ground free as far as it sees all of a cell, and blocked at the contacts of what stands on it.
    What stands somewhere counts at once, against all memory. What could move takes with it the
    memory of the ground that it may hide, and what does move (it stands where the ground was
    free) also that of ground of this class that no camera sees and that it may have reached; and
    so does what may come along the road from where nobody looks. Everything fades with time. A
    frame that came before counts nothing, and where time or odometry jumps the map starts anew.

    Raises DrivableError for names in `costs` and `half_lives` that the class map does not have.
    """

    def __init__(self, config: MapConfig, class_map: ClassMap) -> None:
        self.config = config
        ground = set(class_map.ids(*ground_names(class_map)))
        costs = by_class(config.costs, class_map)
        lives = by_class(config.half_lives, class_map)
        #: By class: value of a cell, int8; half-life, s; depth of ground that it may hide, m; and
        #: which of _KINDS it is, or -1.
        self._cost = np.full(256, OCCUPIED, np.int8)
        self._is_ground = np.zeros(256, bool)
        self._half_life = np.full(256, config.blocker_half_life)
        self._depth = np.zeros(256)
        self._kind = np.full(256, -1)
        for entry in class_map.classes:
            class_id = entry.train_id
            if entry.group in _KINDS:
                self._kind[class_id] = list(_KINDS).index(entry.group)
                self._depth[class_id] = _LONG.get(entry.name, _KINDS[entry.group].depth)
            self._cost[class_id] = costs.get(class_id, 50 if class_id in ground else OCCUPIED)
            self._is_ground[class_id] = class_id in ground
            usual = config.half_life if class_id in ground else config.blocker_half_life
            self._half_life[class_id] = lives.get(class_id, usual)
        #: What vehicles drive on: the ground of the least cost.
        self._driven = self._is_ground & (self._cost == self._cost[self._is_ground].min(initial=0))
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
        if camera in self._round or stamp_ns - self._round_ns > _NANOSECONDS // 10:
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
        odds, ground, blocker = self._rounded()[:3]
        cells = np.full(odds.shape, UNKNOWN, np.int8)
        free = (odds <= _SURELY_FREE) & self._is_ground[ground]
        cells[free] = self._cost[ground[free]]
        full = odds >= _SURELY_OCCUPIED
        cells[full] = self._cost[blocker[full]]
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
        index = np.flatnonzero(free)
        if not len(index):
            return
        rows, columns = np.divmod(index, extent.width)
        middle = np.stack([columns, rows], axis=1) + 0.5
        points = place.undo(middle * extent.resolution + (extent.x_min, extent.y_min))  # (n, 2)
        above, below = seen.classes(points)
        ground = np.where(self._cost[above] > self._cost[below], above, below)
        known = self._is_ground[above] & self._is_ground[below]
        index, ground = index[known], ground[known]
        distance = seen.distance(points[known])
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
        self._hide(points, rays, blockers.sigma[inside], classes)
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

    def _hide(
        self, points: np.ndarray, rays: np.ndarray, sigma: np.ndarray, classes: np.ndarray
    ) -> None:
        """Mark the ground that what can move may stand on, behind its contacts.

        points: (M, 2) in cells. rays: (M, 2) of length 1. sigma: (M,) m.
        """
        depth, kind = self._depth[classes], self._kind[classes]
        way = rays * (depth / self.config.resolution)[:, None]
        lines = np.stack([points, points + way], axis=1) - 0.5  # (M, 2, 2)
        fixed = np.round(lines * 16).astype(np.int32)
        can_move = np.flatnonzero(kind >= 0)
        cv2.polylines(self._hidden, list(fixed[can_move]), False, 1, thickness=2, shift=4)
        # What stands still has a contact that wavers; behind that of what has come there is
        # ground that was free.
        behind = points + rays * ((_COME + sigma) / self.config.resolution)[:, None]
        column, row = np.clip(behind, 0, np.array(self._odds.shape[::-1]) - 1).astype(np.intp).T
        moves = can_move[self._odds[row, column][can_move] <= _SURELY_FREE]
        for number, start in enumerate(self._started):
            mine = moves[kind[moves] == number]
            if len(mine) < _LEAST_MOVED:
                continue
            cv2.polylines(start, list(fixed[mine]), False, 1, thickness=2, shift=4)
            self._ways[number].update(self._ground[row[mine], column[mine]].tolist())

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
        self._hidden = np.zeros(shape, np.uint8)
        #: Of each kind that moves: where it was seen to, in this round; seconds for which it may
        #: be where it is not seen; and the classes of the ground that it goes on.
        self._started = [np.zeros(shape, np.uint8) for _ in _KINDS]
        self._at_large = [np.zeros(shape, np.float32) for _ in _KINDS]
        self._ways: List[Set[int]] = [set() for _ in _KINDS]
        #: Whether a vehicle may be there that no camera has seen.
        self._unwatched = np.ones(shape, np.uint8)
        self._new_ground = np.full(shape, CLASS_NONE, np.uint8)
        self._new_blocker = np.full(shape, CLASS_NONE, np.uint8)
        self._round: Set[str] = set()
        self._round_ns = 0
        self._with_round = None
        #: Order of the classes by what a planner should think of them first.
        self._rank = self._cost.astype(np.intp) * 256 + 255 - np.arange(256)

    def _rounded(self) -> _Round:
        """The cells with this round's frames."""
        if self._with_round is None:
            self._with_round = self._add_round()
        return self._with_round

    def _add_round(self) -> _Round:
        blocked, hidden = self._more_blocked > 0, self._hidden != 0
        odds = self._odds * self._faded()
        at_large = self._spread()
        for reached in at_large:
            hidden |= reached > 0
        unwatched = self._approached() if self.config.unseen_speed else self._unwatched
        if self.config.unseen_speed:
            hidden |= (unwatched != 0) & self._driven[self._ground]
        odds = np.where(blocked | hidden, np.maximum(odds, 0), odds)
        odds = odds + np.where(blocked, self._more_blocked, -self._more_free)
        ground = np.where(self._new_ground != CLASS_NONE, self._new_ground, self._ground)
        blocker = np.where(blocked, self._new_blocker, self._blocker)
        np.clip(odds, _MOST_FREE, _MOST_OCCUPIED, out=odds)
        return _Round(odds, ground, blocker, at_large, unwatched)

    def _end_round(self) -> None:
        if not self._round:
            return
        done = self._rounded()
        self._odds, self._ground, self._blocker, self._at_large, self._unwatched = done
        self._with_round = None
        self._more_free.fill(0)
        self._more_blocked.fill(0)
        for seen in (self._hidden, *self._started):
            seen.fill(0)
        self._new_ground.fill(CLASS_NONE)
        self._new_blocker.fill(CLASS_NONE)
        self._round.clear()
        self._faded_ns = self._stamp_ns

    def _spread(self) -> List[np.ndarray]:
        """Where each kind that moves may be by now, for how many more seconds: (H, W) float32.

        Not where a camera sees the ground free, and only on ground of the classes it was seen on.
        """
        seconds = (self._stamp_ns - self._faded_ns) / _NANOSECONDS if self._faded_ns else 0.0
        reached = []
        kinds = zip(_KINDS.values(), self._at_large, self._started, self._ways)
        for kind, before, started, ways in kinds:
            now = before
            if ways:
                steps = min(math.ceil(kind.speed * seconds / self.config.resolution), _FARTHEST)
                size = (2 * steps + 1, 2 * steps + 1)
                now = np.asarray(cv2.dilate(before, np.ones(size, np.uint8))) - np.float32(seconds)
                passable = np.zeros(256, bool)
                passable[list(ways)] = True
                now[~passable[self._ground] | (self._more_free > 0) | (now < 0)] = 0.0
                now[started != 0] = _AT_LARGE
                if not now.any():
                    ways.clear()
            reached.append(now)
        return reached

    def _approached(self) -> np.ndarray:
        """Where a vehicle may be by now that no camera has seen: (H, W) uint8.

        It comes from ground that nobody watches, along the road, and neither over the ground
        that is seen now, nor over the sidewalk, nor over the vehicle itself.
        """
        extent = self._extent
        assert extent is not None
        seconds = (self._stamp_ns - self._faded_ns) / _NANOSECONDS if self._faded_ns else 0.0
        along, across = (
            min(math.ceil(speed * seconds / extent.resolution), _FARTHEST)
            for speed in (self.config.unseen_speed, _ACROSS)
        )
        c, s = math.cos(self._place.yaw), math.sin(self._place.yaw)
        kernel = np.zeros((2 * along + 1, 2 * along + 1), np.uint8)
        dx, dy = round(along * c), round(along * s)
        ends = (along - dx, along - dy), (along + dx, along + dy)
        cv2.line(kernel, *ends, 1, thickness=2 * across + 1)
        reached = np.asarray(cv2.dilate(self._unwatched, kernel))
        reached[self._more_free > 0] = 0
        reached[(self._odds <= _SURELY_FREE) & ~self._driven[self._ground]] = 0
        own = (self._place.apply(_OWN) - (extent.x_min, extent.y_min)) / extent.resolution
        cv2.fillConvexPoly(reached, np.round(own - 0.5).astype(np.int32), 0)
        return reached

    def _faded(self) -> np.ndarray:
        """What is left of the cells' log-odds at the newest stamp: shares (H, W) float32."""
        seconds = (self._stamp_ns - self._faded_ns) / _NANOSECONDS
        share = np.exp2(-seconds / self._half_life).astype(np.float32)  # (256,)
        left = share[self._ground]
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
        for layers in (self._started, self._at_large):
            layers[:] = [_moved(layer, dy, dx, 0) for layer in layers]
        self._unwatched = _moved(self._unwatched, dy, dx, 1)
        empty = (0, CLASS_NONE, CLASS_NONE, -1, 0, 0, 0, CLASS_NONE, CLASS_NONE)
        names = ('_odds', '_ground', '_blocker', '_seen_by', '_more_free', '_more_blocked',
                 '_hidden', '_new_ground', '_new_blocker')  # fmt: skip
        for name, value in zip(names, empty):
            setattr(self, name, _moved(getattr(self, name), dy, dx, value))
        self._blocked = {
            camera: _moved_cells(blocked, dy, dx, new.height, new.width)
            for camera, blocked in self._blocked.items()
        }

    def _clear_for(self, extent: GridConfig) -> None:
        started, began = self._round, self._round_ns
        self._clear(extent.height, extent.width)
        self._round, self._round_ns = started, began


def _weight(sigma: np.ndarray) -> np.ndarray:
    """Share (n,) float32 of a look that counts at these deviations, m."""
    weight = 1.0 / (1.0 + np.square(sigma / _SIGMA))
    return (np.round(np.nan_to_num(weight) * _QUANTUM) / _QUANTUM).astype(np.float32)


def _moved(cells: np.ndarray, dy: int, dx: int, empty: int) -> np.ndarray:
    """Cells (H, W) as a map has them whose corner is dy rows and dx columns further on."""
    result = np.full_like(cells, empty)
    height, width = cells.shape
    if abs(dy) < height and abs(dx) < width:
        result[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)] = cells[
            max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)
        ]
    return result


def _moved_cells(blocked: _Blocked, dy: int, dx: int, height: int, width: int) -> _Blocked:
    rows, columns = np.divmod(blocked.cells, width)
    rows, columns = rows - dy, columns - dx
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return _Blocked((rows * width + columns)[inside], blocked.classes[inside])
