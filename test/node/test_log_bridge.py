"""Records of Python's logging reach the node's logger at their own level."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from segformer_ros.node.log_bridge import LogBridge, bridge_logs


class Logger:
    """Stands for a logger of rclpy."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> object:
        return lambda text: self.lines.append((level, text))


@pytest.fixture
def package() -> Iterator[logging.Logger]:
    package = logging.getLogger('segformer_ros')
    level, propagate = package.level, package.propagate
    yield package
    package.handlers = [h for h in package.handlers if not isinstance(h, LogBridge)]
    package.setLevel(level)
    package.propagate = propagate


def test_levels_are_kept_and_the_last_bridge_counts(package: logging.Logger) -> None:
    first, second = Logger(), Logger()
    bridge_logs(first)
    bridge_logs(second)
    log = logging.getLogger('segformer_ros.engines.auto')
    log.info('engine %s is used', 'openvino')
    log.warning('cache is read-only')
    log.debug('not shown')
    assert first.lines == []
    assert second.lines == [('info', 'engine openvino is used'), ('warning', 'cache is read-only')]


@pytest.mark.ros
def test_levels_follow_each_other_in_a_real_logger(
    package: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    from rclpy.logging import get_logger

    bridge_logs(get_logger('bridged'))
    log = logging.getLogger('segformer_ros.engines.auto')
    for line, level in enumerate(
        (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, logging.INFO)
    ):
        log.log(level, 'line %d', line)
    printed = capfd.readouterr()
    lines = [line for line in (printed.out + printed.err).splitlines() if '[bridged]' in line]
    assert sorted(line.split(']: ')[-1] for line in lines) == [f'line {n}' for n in range(5)]
    assert 'Traceback' not in printed.err
