"""Log bridge: what the ROS-free rooms log through Python's logging goes to the node's logger."""

from __future__ import annotations

import logging
from typing import Any

from segformer_ros.errors import one_line
from segformer_ros.resources import PACKAGE


class LogBridge(logging.Handler):
    """Hands records to a logger of rclpy, which knows levels by its methods."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at its own level; what goes wrong with that costs the line alone."""
        try:
            self._log(record.levelno, one_line(self.format(record)))
        except Exception:
            self.handleError(record)

    def _log(self, level: int, text: str) -> None:
        # A call for each level: rclpy lets none log at one level now and at another then.
        if level >= logging.CRITICAL:
            self._logger.fatal(text)
        elif level >= logging.ERROR:
            self._logger.error(text)
        elif level >= logging.WARNING:
            self._logger.warning(text)
        elif level >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def bridge_logs(logger: Any) -> None:
    """Send the package's records to a logger of rclpy, in place of any it went to before."""
    package = logging.getLogger(PACKAGE)
    for handler in [h for h in package.handlers if isinstance(h, LogBridge)]:
        package.removeHandler(handler)
    package.addHandler(LogBridge(logger))
    package.setLevel(logging.INFO)
    package.propagate = False
