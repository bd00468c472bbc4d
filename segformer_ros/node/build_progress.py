"""Build progress: how far the build of an engine is, in the node's log."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Callable

from segformer_ros.engines import Progress

PERCENT = 10
"""Of the build from one line to the next."""

LONGEST_SILENCE = 30.0
"""Seconds after which a line is due though the build is not that much further."""

_log = logging.getLogger(__name__)


class BuildProgress(Progress):
    """Logs the outermost phase of a build, which is the build as a whole.

    The log bridge takes the lines to the node's logger.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._outermost = ''
        self._percent = 0
        self._told = (0, 0.0)  # percent and time of the last line
        self._begun = 0.0

    def __call__(self, phase: str, step: int, steps: int) -> None:
        """Log a line where one is due."""
        self._outermost = self._outermost or phase
        now = self._clock()
        if phase == self._outermost:
            if step == 0:  # a build begins, the second of two perhaps
                self._begun, self._told = now, (0, now)
            self._percent = 100 * step // max(steps, 1)
        percent, last = self._told
        if self._percent < percent + PERCENT and now < last + LONGEST_SILENCE:
            return
        self._told = (self._percent, now)
        _log.info(
            'building the engine: %d %% after %.0f s%s',
            self._percent,
            now - self._begun,
            '' if phase == self._outermost else f' ({phase}, {step} of {steps})',
        )
