# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Mount check: compares a camera's mount with its motion while the node runs."""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Deque, List, Optional

import numpy as np

from segformer_ros.camera import (
    Calibration,
    CameraError,
    CameraPose,
    EgoMotion,
    EgoMotionTracker,
    MountEstimate,
    StaticClasses,
    estimate_mount,
    relative_to,
)
from segformer_ros.classes import ClassMap
from segformer_ros.errors import in_words, one_line
from segformer_ros.frame import Frame

EVERY = 1.0
"""Seconds at least from one measured motion to the next."""

_STEP, _STANDING = 0.09, 5.0
"""Seconds at least from one frame that is looked at to the next; where the vehicle stood."""
_REMEMBERED = 120  # motions, of some minutes
_AGAIN = 5  # new motions from one estimate to the next
_SIGMAS = 3.0  # by which a mount must be off to be told
_WIDTH = 640  # pixels of the masks that are kept


class MountCheck:
    """Tells by how much a camera's mount looks off; a thread of its own does the work.

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
        """What was found last, in words; empty at first."""
        self.warning = ''
        """Which angles are off, and by how much; empty where none is."""

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
        where they change, what was found is forgotten.
        """
        seconds = frame.stamp.ns * 1e-9
        if calibration is None or pose is None or (self._work and not self._work.done()):
            return
        if (calibration, mount) != self._mount:
            self._mount = (calibration, mount)
            self._tracker = EgoMotionTracker(calibration, self._classes, EVERY)
            self._motions.clear()
            self.found = self.warning = ''
        assert self._tracker
        if 0 <= seconds - self._looked < self._pause or not self._tracker.wants(seconds):
            return
        self._looked = seconds
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix='mount check')
        step = max(1, labels.shape[1] // _WIDTH)
        small = labels[::step, ::step].copy()  # the engine may use its memory again
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
    """By how much each angle is off, in words."""
    return ', '.join(_words(name, getattr(off, name)) for name in ('pitch', 'yaw', 'roll'))


def warning_of(off: MountEstimate, tolerance: float) -> str:
    """Which angles are off by more than the tolerance, rad, for certain; '' for none."""
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
