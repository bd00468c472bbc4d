"""Log bridge: what the ROS-free rooms log through Python's logging goes to the node's logger."""

from __future__ import annotations

import logging
from typing import Any, Tuple

from segformer_ros.resources import PACKAGE

_METHODS: Tuple[Tuple[int, str], ...] = (
    (logging.CRITICAL, 'fatal'),
    (logging.ERROR, 'error'),
    (logging.WARNING, 'warning'),
    (logging.INFO, 'info'),
    (logging.DEBUG, 'debug'),
)


class LogBridge(logging.Handler):
    """Hands records to a logger of rclpy, which knows levels by its methods."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at its own level."""
        for level, method in _METHODS:
            if record.levelno >= level:
                getattr(self._logger, method)(self.format(record))
                return


def bridge_logs(logger: Any) -> None:
    """Send the package's records to a logger of rclpy, in place of any it went to before."""
    package = logging.getLogger(PACKAGE)
    for handler in [h for h in package.handlers if isinstance(h, LogBridge)]:
        package.removeHandler(handler)
    package.addHandler(LogBridge(logger))
    package.setLevel(logging.INFO)
    package.propagate = False
