"""Status log: what diagnostics say is wrong, told in the log when it begins and when it ends."""

from __future__ import annotations

from time import monotonic
from typing import Any, Callable, Dict, NamedTuple, Sequence

from diagnostic_msgs.msg import DiagnosticStatus

SETTLED = 5.0
"""Seconds for which a status must stay as it is to be told: cameras start after nodes do."""


class _Seen(NamedTuple):
    """Level of a status and since when; whether that was considered; whether a warning stands."""

    level: bytes
    since: float
    considered: bool
    warned: bool


class StatusLog:
    """Tells of each status that is no longer well, and that is well again, in one line each.

    logger: a node's. clock: seconds, never going back.
    """

    def __init__(self, logger: Any, clock: Callable[[], float] = monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._seen: Dict[str, _Seen] = {}

    def note(self, statuses: Sequence[DiagnosticStatus]) -> None:
        """Take in what is published on /diagnostics now."""
        for status in statuses:
            self._note(status)

    def forget(self) -> None:
        """Begin anew: what is wrong counts from now on."""
        self._seen.clear()

    def _note(self, status: DiagnosticStatus) -> None:
        now, well = self._clock(), status.level == DiagnosticStatus.OK
        seen = self._seen.get(status.name, _Seen(DiagnosticStatus.OK, now, True, False))
        if status.level != seen.level:
            seen = _Seen(status.level, now, False, seen.warned)
        if not seen.considered and now - seen.since >= SETTLED:
            line = f'{status.name.split(": ", 1)[-1]}: {status.message}'
            if not well:
                self._logger.warning(line)
            elif seen.warned:
                self._logger.info(line)
            seen = seen._replace(considered=True, warned=not well)
        self._seen[status.name] = seen
