# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Ego-motion: how a camera moved between two frames, from static points that both show."""

from __future__ import annotations

import math
from typing import Callable, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.camera.calibration import Calibration
from segformer_ros.classes import IGNORE_ID, ClassMap

_MOVES = ('human', 'vehicle', 'sky')  # groups of classes; clouds drift, and have no depth
_UPRIGHT = ('construction', 'object')  # groups whose edges are vertical

_SIDE = 640  # pixels; longer side of the images for tracking
_POINTS = 600  # most that are tracked
_QUALITY, _SPACING = 0.005, 7  # of goodFeaturesToTrack
_WINDOW, _LEVELS = (15, 15), 4  # of the optical flow
_RETURN = 0.7  # pixels; largest forward-backward error of a tracked point
_MOST_OFF_AXIS = 1.7  # tangent; pixels at the rim of a fisheye tell little

_FEWEST = 60  # inliers that a motion needs
_AGREE = 0.5  # share of the tracked points that must be inliers
_NEEDED_FLOW = 10.0  # pixels; median flow of a pair that is worth evaluating
_NEEDED_PARALLAX = 2.5  # pixels; upper quartile of the flow that rotation does not explain
_EPIPOLAR = 1.0  # pixels; largest distance of an inlier from its epipolar line
_STEPS = 6  # of the refinement
_LONGEST = 1.0  # seconds for which points are tracked
_NEAR = 25.0  # baselines; triangulated ground points further away are of no use
_LEAST_EDGE = 0.04  # of the longer side; shorter edges have no reliable direction


WHY_NOT = {
    'dark': 'too few points of static things: too dark, blurred, or covered',
    'lost': 'points lost: frames too far apart, or too little in common',
    'still': 'no motion within a second',
    'turn': 'no agreement on a translation: standing, turning on the spot, or a wrong calibration',
}
"""Why the points of a frame gave no motion."""


class EgoMotion(NamedTuple):
    """How a camera moved from one frame to a later one.

    All vectors are in the optical frame halfway between the two. seconds: between them.
    direction: (3,) unit vector of the translation. rotation: (3,) rotation vector, rad.
    sigma: standard deviation of the direction, rad. ground: (n, 3) points on the road relative to
    the camera, in baselines (lengths of the translation). edges: (m, 3) unit normals of the planes
    through the camera and the edges of upright objects.
    """

    seconds: float
    direction: np.ndarray
    rotation: np.ndarray
    sigma: float
    ground: np.ndarray
    edges: np.ndarray


class StaticClasses:
    """Which classes stand still, which have upright edges, and which are the road.

    static, upright, road: (256,) uint8 by mask value, 255 where it is so.
    """

    def __init__(self, class_map: ClassMap) -> None:
        groups = [entry.group for entry in class_map.classes]
        self.static = _table([group not in _MOVES for group in groups])
        self.upright = _table([group in _UPRIGHT for group in groups])
        roads = next(iter(class_map.drivable.values()), ())
        self.road = _table([name in roads for name in class_map.names])


class EgoMotionTracker:
    """Tracks static points from frame to frame until they moved enough to tell the motion.

    calibration: of the frames. classes: of the masks. every: least seconds from the start of one
    track to the start of the next.
    """

    def __init__(
        self, calibration: Calibration, classes: StaticClasses, every: float = 0.0
    ) -> None:
        scale = min(1.0, _SIDE / max(calibration.width, calibration.height))
        width, height = round(calibration.width * scale), round(calibration.height * scale)
        self.calibration = calibration.scaled(width, height)
        self._classes = classes
        self._focal = (self.calibration.fx + self.calibration.fy) / 2
        self.outcomes = {'motion': 0, **dict.fromkeys(WHY_NOT, 0)}
        """How often tracking ended in a motion, or why not; see WHY_NOT."""
        self._every = every
        self._started = -math.inf
        self._start: Optional[_Start] = None
        self._before: np.ndarray = np.empty((0, 0), np.uint8)
        self._points: np.ndarray = np.empty((0, 2), np.float32)
        self._kept: np.ndarray = np.empty(0, np.intp)

    def add(
        self, seconds: float, image: np.ndarray, labels: Callable[[], np.ndarray]
    ) -> Optional[EgoMotion]:
        """Take the next frame; returns the motion since the track's start, once that is known.

        seconds: its stamp. image: (H, W, 3) BGR or (H, W) grey uint8. labels: called for its mask
        (h, w) uint8 if a new track starts here.
        """
        if not 0 < seconds - self._started < 1e3:  # time jumped
            self._start, self._started = None, -math.inf
        grey = self._grey(image)
        motion = self._follow(seconds, grey) if self._start else None
        if self._start is None and seconds - self._started >= self._every:
            self._begin(seconds, grey, labels())
        return motion

    def wants(self, seconds: float) -> bool:
        """Whether a frame of this stamp would be used."""
        since = seconds - self._started
        return self._start is not None or since < 0 or since >= self._every

    def _begin(self, seconds: float, grey: np.ndarray, labels: np.ndarray) -> None:
        self._started = seconds
        size = (grey.shape[1], grey.shape[0])
        mask = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))
        static = cv2.erode(self._classes.static[mask], np.ones((9, 9), np.uint8))
        corners: Optional[np.ndarray] = cv2.goodFeaturesToTrack(
            grey, _POINTS, _QUALITY, _SPACING, mask=static
        )
        if corners is None or len(corners) < _FEWEST:
            self.outcomes['dark'] += 1
            return
        points = corners.reshape(-1, 2)  # (n, 2)
        cell = np.round(points).astype(np.intp)
        road = self._classes.road[mask[cell[:, 1], cell[:, 0]]] > 0
        edges = self._edges(grey, self._classes.upright[mask])
        self._start = _Start(seconds, points, road, edges)
        self._before, self._points, self._kept = grey, points, np.arange(len(points))

    def _follow(self, seconds: float, grey: np.ndarray) -> Optional[EgoMotion]:
        start, self._start = self._start, None
        if start is None or seconds - start.seconds > _LONGEST:
            self.outcomes['still' if len(self._kept) > _FEWEST else 'lost'] += 1
            return None
        tracked, kept = _tracked(self._before, grey, self._points)
        self._before, self._points, self._kept = grey, tracked[kept], self._kept[kept]
        if len(self._kept) < _FEWEST:
            self.outcomes['lost'] += 1
            return None
        moved = np.abs(self._points - start.points[self._kept]).max(axis=1)
        if np.median(moved) < _NEEDED_FLOW:
            self._start = start
            return None
        motion = self._motion(start, seconds - start.seconds)
        self.outcomes['motion' if motion else 'turn'] += 1
        return motion

    def _motion(self, start: _Start, seconds: float) -> Optional[EgoMotion]:
        first = self.calibration.unproject(start.points[self._kept])[:, :2]  # (n, 2)
        second = self.calibration.unproject(self._points)[:, :2]
        usable = np.abs(np.hstack([first, second])).max(axis=1) < _MOST_OFF_AXIS  # False for NaN
        road = start.road[self._kept][usable]
        relative = relative_pose(first[usable], second[usable], self._focal)
        if relative is None:
            return None
        # From the first view to the frame halfway: half the rotation, half the translation.
        half, _ = cv2.Rodrigues(relative.rotation / 2)
        ground = relative.points[road[relative.static]]  # (k, 3)
        near = ground[np.linalg.norm(ground, axis=1) < _NEAR]
        return EgoMotion(
            seconds,
            half @ relative.direction,
            relative.rotation,
            relative.sigma,
            (near - relative.direction / 2) @ half.T,
            start.edges @ half.T,
        )

    def _grey(self, image: np.ndarray) -> np.ndarray:
        size = (self.calibration.width, self.calibration.height)
        if image.shape[1::-1] != size:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image)

    def _edges(self, grey: np.ndarray, upright: np.ndarray) -> np.ndarray:
        """Unit normals (m, 3) of the planes through the camera and edges of upright objects."""
        segments: Optional[np.ndarray] = cv2.createLineSegmentDetector().detect(grey)[0]
        if segments is None:
            return np.empty((0, 3))
        ends = segments.reshape(-1, 2, 2).astype(np.float64)  # (n, end, uv)
        length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
        middle = np.round(ends.mean(axis=1)).astype(np.intp)
        inside = upright[
            np.clip(middle[:, 1], 0, grey.shape[0] - 1),
            np.clip(middle[:, 0], 0, grey.shape[1] - 1),
        ]
        ends = ends[(length > _LEAST_EDGE * max(grey.shape)) & (inside > 0)]
        rays = self.calibration.unproject(ends)
        normals = np.cross(rays[:, 0], rays[:, 1])
        size = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = normals[(size[:, 0] > 0)] / size[size[:, 0] > 0]
        return normals[np.isfinite(normals[:, 0])]


class RelativePose(NamedTuple):
    """Rotation and direction of translation between two views.

    rotation: (3,) rotation vector that takes rays of the first view to the second. direction:
    (3,) unit vector of the camera's translation in the first view. sigma: of that, rad. static:
    (n,) indices of the inliers. points: (n, 3) inliers, triangulated in the first view, in
    baselines.
    """

    rotation: np.ndarray
    direction: np.ndarray
    sigma: float
    static: np.ndarray
    points: np.ndarray


def relative_pose(first: np.ndarray, second: np.ndarray, focal: float) -> Optional[RelativePose]:
    """Relative pose of two views of static points; None where it cannot be determined.

    first, second: (n, 2) float64 rays x, y at z = 1, of the same points. focal: pixels per unit.
    """
    if len(first) < _FEWEST:
        return None
    matrix, one, two = np.diag([focal, focal, 1.0]), first * focal, second * focal
    essential, agree = cv2.findEssentialMat(
        one, two, matrix, method=cv2.USAC_MAGSAC, prob=0.999, threshold=_EPIPOLAR
    )
    if essential is None or essential.shape != (3, 3):
        return None
    _, rotation, shift, agree, _ = cv2.recoverPose(
        essential, one, two, matrix, distanceThresh=1e4, mask=agree
    )
    static = np.flatnonzero(agree)
    if len(static) < max(_FEWEST, _AGREE * len(first)):
        return None
    rotation, shift, sigma = _refined(rotation, shift[:, 0], first[static], second[static])
    turned = np.c_[first[static], np.ones(len(static))] @ rotation.T
    parallax = np.linalg.norm(turned[:, :2] / turned[:, 2:] - second[static], axis=1) * focal
    if np.quantile(parallax, 0.75) < _NEEDED_PARALLAX:
        return None
    points = _triangulated(rotation, shift, first[static], second[static])
    return RelativePose(
        cv2.Rodrigues(rotation)[0][:, 0], -rotation.T @ shift, sigma, static, points
    )


class _Start(NamedTuple):
    seconds: float
    points: np.ndarray  # (n, 2) pixels
    road: np.ndarray  # (n,) bool
    edges: np.ndarray  # (m, 3)


def _table(chosen: Sequence[bool]) -> np.ndarray:
    """Table (256,) uint8 by mask value: 255 where chosen."""
    table = np.zeros(IGNORE_ID + 1, np.uint8)
    table[: len(chosen)] = np.where(chosen, 255, 0)
    return table


def _tracked(
    before: np.ndarray, after: np.ndarray, points: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) tracked into the next image, and which (n,) bool pass forward-backward."""

    def flow(one: np.ndarray, two: np.ndarray, start: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        end, status, _ = cv2.calcOpticalFlowPyrLK(
            one, two, start[:, None], np.empty(0), winSize=_WINDOW, maxLevel=_LEVELS
        )
        return end[:, 0], status[:, 0] > 0

    forward, found = flow(before, after, points)
    back, returned = flow(after, before, forward)
    kept = found & returned & (np.abs(back - points).max(axis=1) < _RETURN)
    height, width = after.shape
    kept &= (forward >= 0).all(axis=1) & (forward[:, 0] < width) & (forward[:, 1] < height)
    return forward, kept


def _refined(
    rotation: np.ndarray, shift: np.ndarray, first: np.ndarray, second: np.ndarray
) -> Tuple[np.ndarray, np.ndarray, float]:
    """Rotation, direction and its sigma that minimise the Sampson distance, Gauss-Newton.

    second = rotation @ first + shift, as recoverPose defines it. (Hartley and Zisserman, Multiple
    View Geometry, 11.4.3.)
    """
    ones = np.ones((len(first), 1))
    one, two = np.hstack([first, ones]), np.hstack([second, ones])  # (n, 3) each
    sigma = np.inf
    for _ in range(_STEPS):
        turned = one @ rotation.T  # (n, 3)
        side = np.linalg.svd(shift[None])[2][1:]  # (2, 3) two axes across the direction
        line = np.cross(shift, turned)  # (n, 3) epipolar lines in the second view
        other = np.cross(two, shift) @ rotation  # (n, 3) and in the first
        error = np.einsum('ij,ij->i', two, line)  # (n,) second . [shift]x rotation first
        norm = np.sqrt(np.square(line[:, :2]).sum(1) + np.square(other[:, :2]).sum(1))
        # Derivative of the error by a small rotation (3) and by a step of the direction (2).
        slope = (
            np.hstack([np.cross(turned, np.cross(two, shift)), np.cross(turned, two) @ side.T])
            / norm[:, None]
        )  # (n, 5)
        residual = error / norm
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-9)
        weight = 1 / (1 + np.square(residual / (2 * scale)))  # Cauchy
        normal = (slope * weight[:, None]).T @ slope
        step = -np.linalg.solve(normal + 1e-12 * np.eye(5), slope.T @ (weight * residual))
        rotation = cv2.Rodrigues(step[:3])[0] @ rotation
        shift = shift + step[3:] @ side
        shift /= np.linalg.norm(shift)
        sigma = scale * float(np.sqrt(np.linalg.eigvalsh(np.linalg.inv(normal)[3:, 3:])[-1]))
    return rotation, shift, sigma


def _triangulated(
    rotation: np.ndarray, shift: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Points (n, 3) in the first view, in baselines."""
    one, two = np.eye(3, 4), np.hstack([rotation, shift[:, None]])
    places = cv2.triangulatePoints(one, two, first.T, second.T)
    with np.errstate(divide='ignore', invalid='ignore'):
        return (places[:3] / places[3]).T
