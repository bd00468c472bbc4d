# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Fixtures for all tests: real data, ROS, and a domain of the session's own."""

from __future__ import annotations

import functools
import importlib.util
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

REPO = Path(__file__).resolve().parents[1]
DATA_VARIABLE = 'SEGFORMER_TEST_DATA'
NOT_RUN = 'SEGFORMER_NOT_RUN'
# Domains above 101 would use ports that Linux hands out to others.
HIGHEST_DOMAIN = 101

# Not with the option `pythonpath`: pytest of Ubuntu 22.04 (Humble) has none. Here, because it must
# be done before the conftest.py of a folder below is imported.
sys.path[:0] = [str(REPO), str(REPO / 'test')]


def pytest_configure(config: pytest.Config) -> None:
    """Keep nodes of this session apart from any other on this machine, and on this machine."""
    from segformer_ros.node.transport import PROFILE_VARIABLES, profile_variable

    worker = getattr(config, 'workerinput', {}).get('workerid')  # of pytest-xdist
    if worker is not None:
        os.environ['ROS_DOMAIN_ID'] = str(worker_domain(int(worker.removeprefix('gw'))))
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, HIGHEST_DOMAIN)))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if not any(map(os.environ.get, PROFILE_VARIABLES)):
        os.environ[profile_variable()] = str(REPO / 'config/fastdds.xml')
    if 'SEGFORMER_CACHE' not in os.environ:  # also for the processes of pytest-xdist
        folder = os.environ['SEGFORMER_CACHE'] = tempfile.mkdtemp(prefix='segformer_cache_')
        config.add_cleanup(functools.partial(shutil.rmtree, folder, ignore_errors=True))
    # A shell lets its background jobs ignore Ctrl-C, nohup lets its command ignore a hang-up, and
    # so would programs that tests interrupt.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def worker_domain(worker: int) -> int:
    """A domain for one of several processes that test at the same time.

    Counted from the session's own in steps, so that no two get the same, and past those in which
    others have nodes.
    """
    first = int(os.environ.get('ROS_DOMAIN_ID') or random.randint(1, HIGHEST_DOMAIN))
    own = [(first + 10 * (worker + 1) + try_) % HIGHEST_DOMAIN + 1 for try_ in range(10)]
    sockets = Path('/proc/net/udp')
    used = sockets.read_text() if sockets.exists() else ''
    return next((each for each in own if f':{7400 + 250 * each:04X} ' not in used), own[0])


def pytest_report_header() -> str:
    """Say why tests were left out."""
    return f'ROS tests are left out: {why_no_ros()}' if why_no_ros() else ''


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Skip files as a whole that import at the top what is not installed."""
    if not isinstance(collector, pytest.Module):
        return
    # Of pytest of Ubuntu 22.04, hooks with the path of the file have another name for it.
    path = Path(str(getattr(collector, 'path', None) or collector.fspath))
    reason = why_left_out(path)
    if reason is not None:

        def skip() -> NoReturn:
            raise pytest.skip.Exception(reason, allow_module_level=True)

        collector.collect = skip  # type: ignore[method-assign]


def why_left_out(path: Path) -> str | None:
    """What a test file needs that is not there; None for nothing."""
    if 'training' in path.parts and importlib.util.find_spec('torch') is None:
        return 'torch is not installed'
    if why_no_ros() and re.search(r'^pytestmark = .*mark\.ros', path.read_text(), re.MULTILINE):
        return why_no_ros()
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `ros` where ROS or this package's messages cannot be imported."""
    reason = why_no_ros()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker('ros'):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests did not run and why; also in the file that NOT_RUN names."""
    reports = terminalreporter.stats.get('skipped', [])
    reasons = Counter[str]()
    for report in reports:
        reason = report.longrepr[2].removeprefix('Skipped: ')
        file = Path(terminalreporter.config.rootpath, report.nodeid)
        reasons[reason] += tests_in(file) if report.when == 'collect' else 1
    text = not_run(reasons)
    if text:
        terminalreporter.write_line(text)
    if os.environ.get(NOT_RUN):
        Path(os.environ[NOT_RUN]).write_text(text)


def tests_in(file: Path) -> int:
    """How many test functions a file has that was skipped as a whole."""
    return len(re.findall(r'^ *def test_', file.read_text(), re.MULTILINE))


def not_run(reasons: Counter[str]) -> str:
    """One line on what was skipped; empty where everything ran."""
    if not reasons:
        return ''
    causes = '; '.join(f'{count}: {reason}' for reason, count in reasons.most_common())
    count = sum(reasons.values())
    return f'{count} test{"s" if count > 1 else ""} did not run ({causes})'


@functools.cache
def why_no_ros() -> str | None:
    """What keeps ROS's tests from running; None for nothing."""
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


@pytest.fixture
def backwards(tmp_path: Path) -> Path:
    """A class map with the names of Cityscapes from last to first."""
    from segformer_ros.classes import load_class_map

    path = tmp_path / 'backwards.txt'
    path.write_text('\n'.join(reversed(load_class_map('cityscapes').names)))
    return path


@pytest.fixture(scope='session')
def camvid() -> Path:
    """Folder of the real CamVid frames with `train/` and `val/`, each `images/` and `labels/`."""
    data = Path(os.environ.get(DATA_VARIABLE, REPO.parent / 'shared'))
    folder = data / 'camvid'
    if not folder.is_dir():
        pytest.skip(f'no real frames: {folder} does not exist (set {DATA_VARIABLE})')
    return folder
