"""Fixtures for all tests: real data, ROS, and a domain of the session's own."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
DATA_VARIABLE = 'SEGFORMER_TEST_DATA'
# Domains above 101 would use ports that Linux hands out to others.
HIGHEST_DOMAIN = 101

# Not with the option `pythonpath`: pytest of Ubuntu 22.04 (Humble) has none. Here, because it must
# be done before the conftest.py of a folder below is imported.
sys.path[:0] = [str(REPO), str(REPO / 'test')]


def pytest_configure(config: pytest.Config) -> None:
    """Keep nodes of this session apart from any other on this machine, and on this machine."""
    del config
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, HIGHEST_DOMAIN)))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', str(REPO / 'config/fastdds.xml'))
    # A shell lets its background jobs ignore Ctrl-C, nohup lets its command ignore a hang-up, and
    # so would programs that tests interrupt.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out files that are ROS's as a whole where there is none: they import it at the top."""
    if collection_path.suffix != '.py' or _why_no_ros() is None:
        return None
    return bool(re.search(r'^pytestmark = .*mark\.ros', collection_path.read_text(), re.M)) or None


def pytest_report_header() -> str:
    """Say why tests were left out."""
    return f'ROS tests are left out: {_why_no_ros()}' if _why_no_ros() else ''


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `ros` where ROS or this package's messages cannot be imported."""
    reason = _why_no_ros()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker('ros'):
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_no_ros() -> str | None:
    if importlib.util.find_spec('rclpy') is None:
        return 'rclpy is not installed: start the tests with ./run test, or source ROS 2'
    if importlib.util.find_spec('segformer_ros.msg') is None:
        return "this package's messages are not built: start with ./run test, or colcon build"
    return None


@pytest.fixture(scope='session')
def ros() -> Iterator[None]:
    """Initialise rclpy once; its signal handlers would end it when a test interrupts itself."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope='session')
def repo() -> Path:
    """Root of the source tree."""
    return REPO


@pytest.fixture(scope='session')
def camvid() -> Path:
    """Folder of the real CamVid frames with `train/` and `val/`, each `images/` and `labels/`."""
    data = Path(os.environ.get(DATA_VARIABLE, REPO.parent / 'shared'))
    folder = data / 'camvid'
    if not folder.is_dir():
        pytest.skip(f'no real frames: {folder} does not exist (set {DATA_VARIABLE})')
    return folder
