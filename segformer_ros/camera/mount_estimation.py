# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Mount estimation: pitch, yaw, roll and height of a camera from the motion of its vehicle.

A wheeled vehicle moves along its own x axis, so the direction of the camera's translation, in its
optical frame, is the vehicle's "forward": that gives pitch and yaw. Upright edges and points on
the road give "up": that is roll. The height over the road comes in baselines (lengths of the
translation), so the vehicle's speed makes it metres. `MountCheck` watches a mount while a node
runs.
"""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Deque, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.camera.calibration import Calibration, CameraError
from segformer_ros.camera.ego_motion import EgoMotion, EgoMotionTracker, StaticClasses
from segformer_ros.camera.pose import CameraPose, mount_angles
from segformer_ros.classes import ClassMap
from segformer_ros.errors import in_words, one_line
from segformer_ros.frame import Frame

FEWEST_MOTIONS = 20
"""Least number of motions for an estimate."""

_CURE = (
    'record a minute of driving by day, straight for the most part, on a street with buildings, '
    'poles or trees at its sides'
)
_BLOCKS = 12  # parts of the drive whose scatter gives the sigmas
_FLOORS = np.radians([0.06, 0.06, 0.1])  # rad; least sigmas of pitch, yaw, roll
_LIMITS = np.radians([0.35, 0.35, 1.0])  # rad; with larger sigmas the estimate is refused
_HEIGHT_FLOOR = 0.01  # least sigma of the height, as a share of it
_STRAY = math.radians(15.0)  # directions further off the usual one are outliers
_LEVER = 0.3  # s; prior sigma of the camera's distance to the turning axle, over the speed
_MOST_ROLL = math.radians(30.0)
_BANDWIDTH = math.radians(0.7)  # of the density of upright edges
_FEWEST_EDGES, _FEWEST_GROUND = 100, 15  # in all; of one motion
_OFF_MOTION, _OFF_LEVEL = 0.12, 0.5  # sines; edges along the motion or nearly level tell nothing


CHECK_EVERY = 1.0
"""Least seconds from one measured motion to the next."""

_STEP, _STANDING = 0.09, 5.0
"""Least seconds from one frame that is tracked to the next: on the move, and at a standstill."""
_REMEMBERED = 120  # motions, of some minutes
_AGAIN = 5  # new motions from one estimate to the next
_SIGMAS = 3.0  # by which an angle must be off, beyond the tolerance, for a warning
_WIDTH = 640  # pixels of the masks that are kept


LEVEL = CameraPose(1.0).rotation()
"""Rotation (3, 3) vehicle_from_optical of a level camera."""


class MotionError(CameraError):
    """A recording whose motion does not tell how the camera is mounted; says why."""


class Measured(NamedTuple):
    """A value and its standard deviation."""

    value: float
    sigma: float


@dataclass(frozen=True)
class MountEstimate:
    """How a camera is mounted: radians and metres, as in CameraPose, with one sigma each.

    height: None without known speeds. pace: speed in camera heights per second; None if too little
    of the road was tracked. motions: pairs of frames that were used.
    """

    pitch: Measured
    yaw: Measured
    roll: Measured
    height: Optional[Measured]
    pace: Optional[Measured]
    motions: int

    def pose(self, height: float) -> CameraPose:
        """The pose with a given height, m."""
        return CameraPose(height, self.pitch.value, self.roll.value, self.yaw.value)


def estimate_mount(
    motions: Sequence[EgoMotion], speeds: Optional[Sequence[float]] = None
) -> MountEstimate:
    """Mount of a camera from its motions; raises MotionError if they are too few or disagree.

    speeds: of the vehicle at each motion, m/s, negative backwards, NaN where not known.
    """
    if len(motions) < FEWEST_MOTIONS:
        raise MotionError(
            f'not enough motion: {len(motions)} pairs of frames tell how the camera moved, '
            f'{FEWEST_MOTIONS} are needed; {_CURE}'
        )
    driven = np.full(len(motions), np.nan) if speeds is None else np.asarray(speeds, float)
    directions = np.array([motion.direction for motion in motions])  # (n, 3)
    directions *= np.where(driven < 0, -1.0, 1.0)[:, None]
    # The axis that most directions lie along, then its sign.
    usual = np.linalg.eigh(directions.T @ directions)[1][:, -1]  # (3,)
    usual = usual * (1.0 if np.median(directions @ usual) > 0 else -1.0)
    chosen = np.flatnonzero(directions @ usual > math.cos(_STRAY))
    if len(chosen) < max(FEWEST_MOTIONS, len(motions) / 2):
        raise MotionError(
            f'not enough motion: only {len(chosen)} of {len(motions)} pairs of frames agree on '
            f'where the vehicle goes; check the calibration, and {_CURE}'
        )
    kept = [motions[int(index)] for index in chosen]
    forward, spread = _forward(kept, directions[chosen], usual)
    axes = _Axes.about(forward)
    slopes, heights = _ground(kept, axes)
    roll = _joined([_roll_of_edges(kept, axes), _summary(slopes)])
    sigmas = np.maximum([*spread, roll.sigma if roll else np.inf], _FLOORS)
    if roll is None or (sigmas > _LIMITS).any():
        known = ', '.join(f'{math.degrees(sigma):.1f}' for sigma in sigmas)
        raise MotionError(
            'not enough motion: pitch, yaw and roll would be known to no more than '
            f'{known} degrees; {_CURE}'
        )
    up = math.cos(roll.value) * axes.up + math.sin(roll.value) * axes.left
    pitch, yaw, own_roll = mount_angles(np.stack([forward, np.cross(up, forward), up]))
    seconds = np.array([motion.seconds for motion in kept])
    height = _summary(heights * np.abs(driven[chosen]) * seconds)
    if height is not None:
        height = height._replace(sigma=max(height.sigma, _HEIGHT_FLOOR * height.value))
    return MountEstimate(
        Measured(pitch, float(sigmas[0])),
        Measured(yaw, float(sigmas[1])),
        Measured(own_roll, float(sigmas[2])),
        height,
        _summary(1 / (heights * seconds)),
        len(kept),
    )


def relative_to(motion: EgoMotion, pose: CameraPose) -> EgoMotion:
    """The motion in the frame of a level camera, if the pose is right.

    What `estimate_mount` finds from such motions is the error of the pose, to be added to it.
    """
    turn = LEVEL.T @ pose.rotation()  # level camera from the one that is mounted
    return motion._replace(
        direction=turn @ motion.direction,
        rotation=turn @ motion.rotation,
        ground=motion.ground @ turn.T,
        edges=motion.edges @ turn.T,
    )


class _Axes(NamedTuple):
    """Forward, and left and up for a camera without roll: unit vectors (3,), optical frame."""

    forward: np.ndarray
    left: np.ndarray
    up: np.ndarray

    @classmethod
    def about(cls, forward: np.ndarray) -> _Axes:
        """Axes of a vehicle that goes `forward` (3,)."""
        up = np.array([0.0, -1.0, 0.0]) + forward[1] * forward
        up /= np.linalg.norm(up)
        return cls(forward, np.cross(up, forward), up)


def _forward(
    motions: Sequence[EgoMotion], directions: np.ndarray, usual: np.ndarray
) -> Tuple[np.ndarray, Tuple[float, float]]:
    """Direction (3,) of the vehicle when it drives straight, and the sigmas of pitch and yaw.

    In a turn a camera ahead of the turning axle also moves sideways, by its distance to the axle
    times the rate of turn. That lever, over the speed, is fitted together with the yaw.
    """
    axes = _Axes.about(usual)
    ahead = directions @ usual  # (n,)
    # Tangents of the angles up and left of the usual direction.
    across = np.stack([directions @ axes.up, directions @ axes.left], axis=1) / ahead[:, None]
    seconds = np.array([motion.seconds for motion in motions])
    rate = np.array([motion.rotation @ axes.up for motion in motions]) / seconds  # (n,) rad/s
    sigma = np.hypot([motion.sigma for motion in motions], _FLOORS[0])
    centre, residual = np.zeros(2), np.zeros_like(across)  # residual: (n, 2)
    for axis, turning in enumerate((np.zeros_like(rate), rate)):
        # Robust least squares with Cauchy weights: angle = centre + lever * rate of turn.
        design = np.stack([np.ones_like(rate), turning], axis=1)  # (n, 2)
        weight = 1 / np.square(sigma)
        for _ in range(20):
            normal = (design * weight[:, None]).T @ design
            normal[1, 1] += 1 / _LEVER**2  # the prior
            fit = np.linalg.solve(normal, design.T @ (weight * across[:, axis]))
            residual[:, axis] = across[:, axis] - design @ fit
            scale = max(_deviation(residual[:, axis] / sigma), 1e-3)
            weight = 1 / np.square(sigma) / (1 + np.square(residual[:, axis] / sigma / scale / 2))
        centre[axis] = fit[0]
    forward = usual + centre[0] * axes.up + centre[1] * axes.left
    spread = _spread(residual[:, 0]), _spread(residual[:, 1])
    return forward / np.linalg.norm(forward), spread


def _ground(motions: Sequence[EgoMotion], axes: _Axes) -> Tuple[np.ndarray, np.ndarray]:
    """Roll by the road, rad, and height in baselines, of each motion (n,); NaN where unknown.

    The road is the plane up . point = -height, with up = cos(roll) axes.up + sin(roll) axes.left.
    The error of a point grows with the square of its distance. The fit is robust, since a wet road
    also shows reflections far ahead, which triangulate to points below it.
    """
    rolls, heights = np.full(len(motions), np.nan), np.full(len(motions), np.nan)
    for index, motion in enumerate(motions):
        if len(motion.ground) < _FEWEST_GROUND:
            continue
        own = _Axes.about(motion.direction * np.sign(motion.direction @ axes.forward))
        left, up = motion.ground @ own.left, motion.ground @ own.up  # (k,) each
        sigma = np.square(motion.ground).sum(axis=1)  # (k,) up to a factor
        design = np.stack([left, np.ones(len(left))], axis=1)  # up = slope * left + level
        slope, level = 0.0, float(np.median(up))
        for _ in range(15):
            residual = (up - slope * left - level) / sigma
            scale = max(_deviation(residual), 1e-6)
            weight = 1 / np.square(sigma) / (1 + np.square(residual / scale / 2))
            normal = (design * weight[:, None]).T @ design + 1e-9 * np.eye(2)
            slope, level = np.linalg.solve(normal, design.T @ (weight * up))
        roll = -math.atan(slope)
        if abs(roll) < _MOST_ROLL and level < 0:
            rolls[index], heights[index] = roll, -level * math.cos(roll)
    return rolls, heights


def _roll_of_edges(motions: Sequence[EgoMotion], axes: _Axes) -> Optional[Measured]:
    """Roll at which most upright edges are vertical; None where there are too few.

    An edge whose plane has the normal n is vertical if n . up = 0.
    """
    counts = [len(motion.edges) for motion in motions]
    normals = np.concatenate([motion.edges for motion in motions])  # (m, 3)
    block = np.repeat(np.arange(len(motions)) * _BLOCKS // len(motions), counts)
    along, left, up = (normals @ axis for axis in (axes.forward, axes.left, axes.up))  # (m,) each
    rolls = np.arctan(-up / np.where(left == 0, 1e-12, left))
    usable = (np.abs(along) > _OFF_MOTION) & (np.abs(left) > _OFF_LEVEL)
    usable &= np.abs(rolls) < _MOST_ROLL
    rolls, block, weight = rolls[usable], block[usable], np.square(left[usable])
    if len(rolls) < _FEWEST_EDGES:
        return None
    # Kernel density over a grid of rolls gives the start for the exact mode.
    grid = np.arange(-_MOST_ROLL, _MOST_ROLL, _BANDWIDTH / 4)
    count, _ = np.histogram(rolls, np.append(grid, _MOST_ROLL), weights=weight)
    kernel = np.exp(-np.square(np.arange(-8, 9) / 4) / 2)
    start = grid[np.convolve(count, kernel, 'same').argmax()]
    centre = _mode(rolls, weight, start)
    parts = [
        _mode(rolls[block == part], weight[block == part], centre)
        for part in range(_BLOCKS)
        if (block == part).sum() >= _FEWEST_EDGES / _BLOCKS
    ]
    if len(parts) < 3:
        return None
    return Measured(centre, float(np.std(parts, ddof=1)) / math.sqrt(len(parts)))


def _mode(values: np.ndarray, weight: np.ndarray, start: float) -> float:
    """Mode of the density of values (n,) next to `start`, by mean shift."""
    centre = start
    for _ in range(30):
        share = weight * np.exp(-np.square((values - centre) / _BANDWIDTH) / 2)
        if share.sum() < 1e-9:
            break
        centre = float((share * values).sum() / share.sum())
    return centre


def _summary(values: np.ndarray) -> Optional[Measured]:
    """Median of values (n,), in the order of the drive and without NaN; None if too few."""
    known = values[np.isfinite(values)]
    if len(known) < FEWEST_MOTIONS:
        return None
    return Measured(float(np.median(known)), _spread(known))


def _spread(values: np.ndarray) -> float:
    """Standard deviation of the mean of values (n,) in the order of the drive.

    From the medians of its parts, since the errors of neighbouring frames are correlated.
    """
    parts = [float(np.median(part)) for part in np.array_split(values, _BLOCKS) if len(part)]
    return float(np.std(parts, ddof=1)) / math.sqrt(len(parts))


def _deviation(values: np.ndarray) -> float:
    """Standard deviation of values (n,) from their median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _joined(found: List[Optional[Measured]]) -> Optional[Measured]:
    """Mean of several measurements, weighted by their inverse variances; None without any."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    weights = np.array([1 / max(one.sigma, _FLOORS[2]) ** 2 for one in known])
    value = float(weights @ [one.value for one in known] / weights.sum())
    return Measured(value, float(weights.sum()) ** -0.5)


class MountCheck:
    """Checks a camera's mount against its motion, in a thread of its own.

    The frame worker calls `offer`, any thread reads `found` and `warning`.
    """

    def __init__(self, class_map: ClassMap) -> None:
        self._classes = StaticClasses(class_map)
        self._thread: Optional[ThreadPoolExecutor] = None
        self._work: Optional[Future[None]] = None
        self._mount: Any = None
        self._tracker: Optional[EgoMotionTracker] = None
        self._motions: Deque[EgoMotion] = deque(maxlen=_REMEMBERED)
        self._new = 0
        self._looked = self._pause = 0.0
        self.found = ''
        """The last result, in words; empty at first."""
        self.warning = ''
        """Which angles are off, and by how much; empty if none is."""

    def offer(
        self,
        frame: Frame,
        labels: np.ndarray,
        calibration: Optional[Calibration],
        pose: Optional[CameraPose],
        tolerance: float,
        mount: Any,
    ) -> None:
        """Take a segmented frame, if one is wanted now; never waits.

        tolerance: rad that an angle may be off. mount: the settings that the pose comes from;
        when they change, the check starts over.
        """
        seconds = frame.stamp.ns * 1e-9
        if calibration is None or pose is None or (self._work and not self._work.done()):
            return
        if (calibration, mount) != self._mount:
            self._mount = (calibration, mount)
            self._tracker = EgoMotionTracker(calibration, self._classes, CHECK_EVERY)
            self._motions.clear()
            self.found = self.warning = ''
        assert self._tracker
        if 0 <= seconds - self._looked < self._pause or not self._tracker.wants(seconds):
            return
        self._looked = seconds
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix='mount check')
        step = max(1, labels.shape[1] // _WIDTH)
        small = labels[::step, ::step].copy()  # the engine may reuse the memory of `labels`
        self._work = self._thread.submit(self._add, seconds, frame, small, pose, tolerance)

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _add(
        self,
        seconds: float,
        frame: Frame,
        labels: np.ndarray,
        pose: CameraPose,
        tolerance: float,
    ) -> None:
        try:
            assert self._tracker
            stood = self._tracker.outcomes['still']
            motion = self._tracker.add(seconds, frame.bgr(), lambda: labels)
            self._pause = _STANDING if self._tracker.outcomes['still'] > stood else _STEP
            if motion is None:
                return
            self._motions.append(relative_to(motion, pose))
            self._new += 1
            if self._new >= _AGAIN:
                self._new = 0
                self._judge(tolerance)
        except CameraError as error:  # not enough motion so far
            self.found, self.warning = one_line(str(error)), ''
        except Exception as error:  # the check must never cost a frame
            self.found = f'mount check failed: {one_line(in_words(error))}'

    def _judge(self, tolerance: float) -> None:
        off = estimate_mount(self._motions)
        self.found, self.warning = in_degrees(off), warning_of(off, tolerance)


def in_degrees(off: MountEstimate) -> str:
    """How far each angle is off, in words."""
    return ', '.join(_words(name, getattr(off, name)) for name in ('pitch', 'yaw', 'roll'))


def warning_of(off: MountEstimate, tolerance: float) -> str:
    """Which angles are certainly off by more than the tolerance, rad; '' for none."""
    wrong: List[str] = []
    for name in ('pitch', 'yaw', 'roll'):
        measured = getattr(off, name)
        if abs(measured.value) > tolerance + _SIGMAS * measured.sigma:
            wrong.append(f'{_words(name, measured)} degrees off')
    if not wrong:
        return ''
    return (
        f'the mount does not fit the motion of the camera: {", ".join(wrong)} (add that to the '
        'mount; segformer mount finds it from a recording)'
    )


def _words(name: str, measured: Any) -> str:
    value, sigma = (math.degrees(part) for part in measured)
    return f'{name} looks {value:+.1f} +- {sigma:.1f}'
