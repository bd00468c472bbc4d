"""The two clocks of the node."""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

from rclpy.clock import Clock

_NANOSECONDS = 1_000_000_000


class Now(NamedTuple):
    """One moment: `steady` in s, for silences and rates; `ros_ns` in ns, for ages of stamps."""

    steady: float
    ros_ns: int

    @classmethod
    def of(cls, clock: Clock) -> Now:
        """Read both clocks."""
        return cls(monotonic(), clock.now().nanoseconds)

    def age(self, stamp_ns: int) -> float:
        """Seconds since a stamp in nanoseconds."""
        return (self.ros_ns - stamp_ns) / _NANOSECONDS
