"""The node under test, in this process, with a probe that plays its cameras and its users."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROS = all(importlib.util.find_spec(name) for name in ('rclpy', 'segformer_ros.msg'))

# These import rclpy or messages as they are collected.
collect_ignore = (
    []
    if ROS
    else [path.name for path in HERE.glob('test_*.py') if 'pytest.mark.ros' in path.read_text()]
)


def pytest_report_header() -> str:
    """Say that tests were left out."""
    return '' if ROS else f'no ROS, or messages not built: {len(collect_ignore)} files left out'


@pytest.fixture(scope='session')
def ros() -> Iterator[None]:
    """Initialise rclpy once."""
    import rclpy

    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def make_rig(ros: None) -> Iterator[Callable[..., Any]]:
    """Make rigs (see test/node_rig.py) that end with the test."""
    from node_rig import Rig

    rigs: list[Rig] = []

    def make(**parameters: Any) -> Rig:
        rigs.append(Rig(parameters))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()
