# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Unseen traffic: ground that may be occupied by now by something that no camera sees."""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Set

import cv2
import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drivable.grid import GridConfig
from segformer_ros.drivable.odometry import PlanarPose

_LONG = {'truck': 18.0, 'bus': 18.0, 'train': 30.0}  # m; depths that differ from the group's
_APPROACH = 0.2  # m, beyond the deviation: a contact this much nearer than before has moved
_LEAST_MOVED = 3  # contact points that must have moved
_FARTHEST = 200  # cells; most that anything moves between two frames
_AT_LARGE = 3.0  # s for which something that moved out of sight may reappear
_ACROSS = 1.5  # m/s at which vehicles move across the road
_OWN = np.array([[0.0, -1.0], [5.0, -1.0], [5.0, 1.0], [0.0, 1.0]])  # m; just ahead of the vehicle


class _Kind(NamedTuple):
    """A kind of road user: depth of ground that one may cover, m; its highest speed, m/s.

    wide: whether it is too wide to get right in front of the vehicle, below the view, unseen.
    """

    depth: float
    speed: float
    wide: bool


_KINDS: Dict[str, _Kind] = {'human': _Kind(1.0, 2.0, False), 'vehicle': _Kind(6.0, 14.0, True)}
"""By group."""


class KnownGround(NamedTuple):
    """The map before a round of frames, and what that round sees free: (H, W) each.

    surely_free: bool, before. ground: uint8 classes, before. seen_free: bool, by this round.
    driven: (256,) uint8, by class whether vehicles drive on it.
    """

    surely_free: np.ndarray
    ground: np.ndarray
    seen_free: np.ndarray
    driven: np.ndarray


class Reached(NamedTuple):
    """Ground that may be occupied: doubtful (H, W) bool; the rest is state to `keep`."""

    doubtful: np.ndarray
    at_large: List[np.ndarray]
    unwatched: np.ndarray


class UnseenTraffic:
    """Where on a map something that can move may stand, unseen by any camera.

    That is the ground hidden behind road users; the ground that one seen moving (it stands where
    the ground was free) may have reached since, on the classes of ground that it was seen on; and,
    with unseen_speed (m/s) above 0, road along which a vehicle may have come from out of view.
    """

    def __init__(self, unseen_speed: float, class_map: ClassMap) -> None:
        self._unseen_speed = unseen_speed
        #: By class, (256,) each: depth of ground that it may hide, m; index in _KINDS, or -1.
        self._depth = np.zeros(256)
        self._kind = np.full(256, -1)
        for entry in class_map.classes:
            if entry.group in _KINDS:
                self._kind[entry.train_id] = list(_KINDS).index(entry.group)
                depth = _LONG.get(entry.name, _KINDS[entry.group].depth)
                self._depth[entry.train_id] = depth
        self.clear(1, 1)

    def clear(self, height: int, width: int) -> None:
        """Start over, with a map of height x width cells."""
        shape = (height, width)
        #: Whether a cell is hidden behind a road user in this round.
        self._hidden = np.zeros(shape, np.uint8)
        #: Of each kind: whether one was seen moving there in this round; for how many seconds one
        #: may still be there unseen; and the classes of ground that it was seen on.
        self._started = [np.zeros(shape, np.uint8) for _ in _KINDS]
        self._at_large = [np.zeros(shape, np.float32) for _ in _KINDS]
        self._ways: List[Set[int]] = [set() for _ in _KINDS]
        #: Whether a vehicle that no camera has seen yet may be there.
        self._unwatched = np.ones(shape, np.uint8)

    def move(self, dy: int, dx: int) -> None:
        """Follow the map, whose corner moves by dy rows and dx columns."""
        self._hidden = moved_cells(self._hidden, dy, dx, 0)
        self._started = [moved_cells(layer, dy, dx, 0) for layer in self._started]
        self._at_large = [moved_cells(layer, dy, dx, 0) for layer in self._at_large]
        self._unwatched = moved_cells(self._unwatched, dy, dx, 1)

    def see(
        self,
        points: np.ndarray,
        rays: np.ndarray,
        sigma: np.ndarray,
        classes: np.ndarray,
        resolution: float,
        known: KnownGround,
    ) -> None:
        """Add one frame's blockers to this round.

        points: (M, 2) contact points, in cells of `resolution` m. rays: (M, 2) unit vectors from
        the camera. sigma: (M,) m, of the distance. classes: (M,).
        """
        depth, kind = self._depth[classes], self._kind[classes]
        can_move = np.flatnonzero(kind >= 0)
        if not len(can_move):
            return
        points, rays, sigma = points[can_move], rays[can_move], sigma[can_move]
        depth, kind = depth[can_move], kind[can_move]
        lines = np.stack([points, points + rays * (depth / resolution)[:, None]], axis=1) - 0.5
        fixed = list(np.round(lines * 16).astype(np.int32))  # (2, 2) each, with 4 bits of fraction
        cv2.polylines(self._hidden, fixed, False, 1, thickness=2, shift=4)
        # The measured contact of something at rest jitters. It has moved only if the ground was
        # free even a little further away, beyond that jitter.
        behind = points + rays * ((_APPROACH + sigma) / resolution)[:, None]  # (m, 2)
        limit = np.array(self._hidden.shape[::-1]) - 1
        column, row = np.clip(behind, 0, limit).astype(np.intp).T
        moved = known.surely_free[row, column]  # (m,) bool
        for number, start in enumerate(self._started):
            mine = np.flatnonzero(moved & (kind == number))
            if len(mine) < _LEAST_MOVED:
                continue
            cv2.polylines(start, [fixed[i] for i in mine], False, 1, thickness=2, shift=4)
            self._ways[number].update(known.ground[row[mine], column[mine]].tolist())

    def reached(
        self, seconds: float, extent: GridConfig, place: PlanarPose, known: KnownGround
    ) -> Reached:
        """Ground whose remembered free state no longer holds, `seconds` after the last round."""
        own = (place.apply(_OWN) - (extent.x_min, extent.y_min)) / extent.resolution
        own = np.round(own - 0.5).astype(np.int32)
        at_large = self._spread(seconds, extent.resolution, own, known)
        doubtful = self._hidden != 0
        for reached in at_large:
            doubtful |= reached > 0
        unwatched = self._unwatched
        if self._unseen_speed:
            unwatched = self._approached(seconds, extent.resolution, place.yaw, own, known)
            doubtful |= (unwatched != 0) & (cv2.LUT(known.ground, known.driven) != 0)
        return Reached(doubtful, at_large, unwatched)

    def keep(self, reached: Reached) -> None:
        """End the round: `reached` becomes the state that the next one starts from."""
        self._at_large, self._unwatched = reached.at_large, reached.unwatched
        for layer in (self._hidden, *self._started):
            layer.fill(0)
        for ways, at_large in zip(self._ways, self._at_large):
            if not at_large.any():
                ways.clear()

    def _spread(
        self, seconds: float, resolution: float, own: np.ndarray, known: KnownGround
    ) -> List[np.ndarray]:
        """For how many more seconds each kind may be at a cell, unseen: (H, W) float32 each.

        0 where a camera sees the ground free, and on classes of ground that it was not seen on.
        """
        reached = []
        kinds = zip(_KINDS.values(), self._at_large, self._started, self._ways)
        for kind, before, started, ways in kinds:
            now = before
            if ways:
                steps = min(math.ceil(kind.speed * seconds / resolution), _FARTHEST)
                size = (2 * steps + 1, 2 * steps + 1)
                # In `seconds` it moves by up to `steps` cells, and as much of its time runs out.
                now = np.asarray(cv2.dilate(before, np.ones(size, np.uint8))) - np.float32(seconds)
                passable = np.zeros(256, np.uint8)
                passable[list(ways)] = 1
                now[(cv2.LUT(known.ground, passable) == 0) | known.seen_free | (now < 0)] = 0.0
                now[started != 0] = _AT_LARGE
                if kind.wide:
                    cv2.fillConvexPoly(now, own, 0.0)
            reached.append(now)
        return reached

    def _approached(
        self, seconds: float, resolution: float, yaw: float, own: np.ndarray, known: KnownGround
    ) -> np.ndarray:
        """Where a vehicle that no camera has seen may be by now: (H, W) uint8.

        It comes from unwatched ground along the road (taken to run in the vehicle's direction) and
        does not cross ground that is seen free now, the sidewalk, or the vehicle itself.
        """
        along, across = (
            min(math.ceil(speed * seconds / resolution), _FARTHEST)
            for speed in (self._unseen_speed, _ACROSS)
        )
        # A thick line along the road as the kernel: as far as a vehicle gets, both ways.
        c, s = math.cos(yaw), math.sin(yaw)
        kernel = np.zeros((2 * along + 1, 2 * along + 1), np.uint8)
        dx, dy = round(along * c), round(along * s)
        ends = (along - dx, along - dy), (along + dx, along + dy)
        cv2.line(kernel, *ends, 1, thickness=2 * across + 1)
        reached = np.asarray(cv2.dilate(self._unwatched, kernel))
        off_road = cv2.LUT(known.ground, known.driven) == 0  # (H, W) bool
        reached[known.seen_free | (known.surely_free & off_road)] = 0
        cv2.fillConvexPoly(reached, own, 0)
        return reached


def moved_cells(cells: np.ndarray, dy: int, dx: int, empty: int) -> np.ndarray:
    """Cells (H, W) of a map whose corner is moved by dy rows and dx columns; new ones `empty`."""
    result = np.full_like(cells, empty)
    height, width = cells.shape
    if abs(dy) < height and abs(dx) < width:
        result[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)] = cells[
            max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)
        ]
    return result
