# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Watchdog: detects when the last valid drivable area has become too old to be used."""

from __future__ import annotations

from threading import Lock
from time import monotonic
from typing import NamedTuple, Optional

from rclpy.clock import Clock

from segformer_ros.drivable import age_fault

_NANOSECONDS = 1_000_000_000


class Now(NamedTuple):
    """The time on both clocks: `steady` in s, for silences and rates; `ros_ns`, for stamps."""

    steady: float
    ros_ns: int

    @classmethod
    def of(cls, clock: Clock) -> Now:
        """Read both clocks."""
        return cls(monotonic(), clock.now().nanoseconds)

    def age(self, stamp_ns: int) -> float:
        """Seconds since a stamp in nanoseconds."""
        return (self.ros_ns - stamp_ns) / _NANOSECONDS


class Watchdog:
    """Checks one camera's drivable area against the clock, whatever the engine is doing.

    Thread-safe. Ages of images are on the ROS clock, as their stamps are; silences on the steady
    clock, so that they are noticed while simulated time stands still.
    """

    def __init__(self) -> None:
        self.arrival: Optional[float] = None
        """Steady time of the camera's last image, in s; None if none has come yet."""
        self._lock = Lock()
        self._start: Optional[float] = None
        self._summary: Optional[float] = None
        self._stamp_ns = 0
        self._said: Optional[float] = None

    def rest(self) -> None:
        """Forget what was published: without subscribers nothing can be stale."""
        with self._lock:
            self._start = self._summary = self._said = None

    def silence(self, now: Now) -> float:
        """Seconds since the camera's last image; inf if none has come yet."""
        with self._lock:
            return float('inf') if self.arrival is None else now.steady - self.arrival

    def summary_published(self, now: Now, stamp_ns: int, valid: bool) -> None:
        """Record a published summary, with the stamp of its image."""
        with self._lock:
            if valid:
                self._summary, self._stamp_ns, self._said = now.steady, stamp_ns, None
            else:
                self._said = now.steady

    def due(self, now: Now, max_age: float, outage: str) -> str:
        """Why 'not valid' must be published now; empty if it need not be.

        outage: why nothing is being segmented at all, as far as the node knows. It is repeated
        every `max_age` seconds, for late subscribers.
        """
        with self._lock:
            if self._start is None:
                self._start = now.steady
            if self._said is not None and now.steady - self._said < max_age:
                return ''
            fault = self._fault(now, max_age, outage)
            if fault:
                self._said = now.steady
            return fault

    def _fault(self, now: Now, max_age: float, outage: str) -> str:
        since = self._start if self._summary is None else self._summary
        assert since is not None
        stale = '' if self._summary is None else age_fault(now.age(self._stamp_ns), max_age)
        if now.steady - since <= max_age and not stale:
            return ''
        if outage:
            return outage
        if self.arrival is None:
            return f'no image has come from the camera for {now.steady - since:.2f} s'
        silence = now.steady - self.arrival
        if silence > max_age:
            return f'the camera is silent: its last image came {silence:.2f} s ago'
        return stale or f'no image was segmented for {now.steady - since:.2f} s'
