# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer doctor: checks what this machine can run."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Iterator, List, Optional

from segformer_ros.cli.checks import (
    Finding,
    Health,
    examine_gpu,
    examine_machine,
    examine_software,
)
from segformer_ros.errors import reason
from segformer_ros.node.transport import (
    BUFFER_NEEDED,
    RECEIVE_BUFFER_LIMIT,
    SHARED_MEMORY,
    TransportError,
    check_shared_memory,
    profile_variable,
    segment_size,
    shipped_profile,
)
from segformer_ros.text_table import format_table

SUMMARY = 'say what this machine can run, and what to do about what it cannot'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument('--json', action='store_true', help='print JSON, for programs')


def run(arguments: argparse.Namespace) -> int:
    """Print all findings and the cures; the exit code is 1 where something is broken."""
    findings = examine()
    if arguments.json:
        print(json.dumps([{**f._asdict(), 'verdict': f.verdict.name} for f in findings], indent=2))
    else:
        rows = [(f.part, f.name, f.verdict.value, f.detail) for f in findings]
        print(format_table(('part', 'what', 'verdict', 'detail'), rows))
        cures = [f'- {f.name}: {f.cure}' for f in findings if f.cure]
        if cures:
            print('\nWhat to do:\n' + '\n'.join(cures))
    return int(any(f.verdict is Health.BROKEN for f in findings))


def examine() -> List[Finding]:
    """All findings, part by part."""
    return [*examine_machine(), *examine_software(), *examine_gpu(), *examine_ros()]


_PART = 'ROS 2'

_SEGMENT_NEEDED = 16 * 2**20
"""Bytes of shared memory that two 1080p frames in transit need."""

# Module, what is lost without it, and what to do instead.
_NEIGHBOURS = (
    (
        'vision_msgs',
        'segmentation/label_info is not published',
        'the class names are in the class map',
    ),
    (
        'tf2_ros',
        "the camera's mount must be given as parameters",
        'give mount.height, mount.pitch, ... to the node',
    ),
)


def examine_ros() -> Iterator[Finding]:
    """The distribution, this package's messages, the middleware and its transport."""
    if importlib.util.find_spec('rclpy') is None:
        yield Finding(
            _PART, 'rclpy', Health.ABSENT, 'not installed, or not sourced; the nodes cannot run',
            'source /opt/ros/DISTRO/setup.bash, or start commands with ./run',
        )  # fmt: skip
        return
    wheels = from_wheels()
    origin = ', from wheels' if wheels else ''
    name = os.environ.get('ROS_DISTRO', 'unknown')
    yield Finding(_PART, 'distribution', Health.OK, f'{name}{origin}')
    yield _messages()
    for module, loss, instead in _NEIGHBOURS:
        if importlib.util.find_spec(module) is None:
            yield missing_neighbour(module, loss, instead, wheels)
        else:
            yield Finding(_PART, module, Health.OK, 'installed')
    try:
        check_shared_memory()
    except TransportError:  # rclpy would crash when asked for the middleware
        yield _shared_memory()
        return
    middleware = _middleware()
    yield Finding(_PART, 'middleware', Health.OK, middleware)
    if 'fastrtps' in middleware:
        yield profile_finding(os.environ.get(profile_variable()))
        yield _shared_memory()
    elif 'cyclone' in middleware:
        yield _receive_buffer()


def from_wheels() -> bool:
    """Whether ROS 2 was installed by pip into this Python, so that apt cannot add to it."""
    try:
        wheel = distribution(f'ros-{os.environ.get("ROS_DISTRO", "jazzy")}-rclpy')
    except PackageNotFoundError:
        return False
    found = importlib.util.find_spec('rclpy')
    own = Path(str(wheel.locate_file('rclpy')), '__init__.py')
    # A sourced distribution takes precedence over the wheels.
    return found is not None and found.origin is not None and Path(found.origin) == own


def missing_neighbour(module: str, loss: str, instead: str, wheels: bool) -> Finding:
    """A ROS package that is not installed: what is lost, and what to do about it."""
    if wheels:
        detail = f'ROS 2 from wheels does not have it: {loss}'
        cure = f'{instead}; or source a ROS 2 distribution that has it, in place of the wheels'
    else:
        package = f'ros-{os.environ.get("ROS_DISTRO", "$ROS_DISTRO")}-{module.replace("_", "-")}'
        detail, cure = loss, f'sudo apt-get install {package}'
    return Finding(_PART, module, Health.WARNING, detail, cure)


def profile_finding(profile: Optional[str]) -> Finding:
    """Whether Fast DDS has a shared-memory segment that holds frames."""
    name = 'Fast DDS profile'
    variable = profile_variable()
    cure = f'export {variable}={shipped_profile()}, for the camera driver too'
    if not profile:
        return Finding(
            _PART, name, Health.WARNING,
            f'{variable} is not set: the default segment of 0.5 MB holds no frame, so '
            'most frames of 1080p are lost between processes', cure,
        )  # fmt: skip
    try:
        segment = segment_size(Path(profile))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        return Finding(
            _PART, name, Health.BROKEN, f'{profile} cannot be read: {reason(error)}', cure
        )
    if segment < _SEGMENT_NEEDED:
        return Finding(
            _PART, name, Health.WARNING,
            f'{profile} gives shared memory of {segment / 2**20:.1f} MiB, too little for images',
            cure,
        )  # fmt: skip
    return Finding(_PART, name, Health.OK, f'{profile}, {segment / 2**20:.0f} MiB segments')


def _middleware() -> str:
    chosen = os.environ.get('RMW_IMPLEMENTATION')
    if chosen:
        return chosen
    from rclpy.utilities import get_rmw_implementation_identifier

    return str(get_rmw_implementation_identifier())


def _messages() -> Finding:
    if importlib.util.find_spec('segformer_ros.msg') is None:
        return Finding(
            _PART, 'own messages', Health.BROKEN, 'not built',
            'colcon build, then source install/setup.bash; or start commands with ./run',
        )  # fmt: skip
    return Finding(_PART, 'own messages', Health.OK, 'segformer_ros/msg/DrivableArea')


def _shared_memory() -> Finding:
    try:
        usage = shutil.disk_usage(SHARED_MEMORY)
    except OSError as error:
        return Finding(
            _PART, str(SHARED_MEMORY), Health.BROKEN, reason(error), 'mount a tmpfs there'
        )
    detail = f'{usage.free / 2**20:.0f} of {usage.total / 2**20:.0f} MiB free'
    if usage.free < 4 * _SEGMENT_NEEDED:
        return Finding(
            _PART, str(SHARED_MEMORY), Health.WARNING, f'{detail}: too little for images',
            'start the container with --shm-size=1g (or --ipc=host)',
        )  # fmt: skip
    return Finding(_PART, str(SHARED_MEMORY), Health.OK, detail)


def _receive_buffer() -> Finding:
    try:
        size = int(RECEIVE_BUFFER_LIMIT.read_text())
    except (OSError, ValueError) as error:
        return Finding(
            _PART, 'receive buffer', Health.WARNING, f'{RECEIVE_BUFFER_LIMIT} cannot be read: '
            f'{reason(error)}', 'see doc/transport.md',
        )  # fmt: skip
    detail = f'net.core.rmem_max is {size / 2**20:.1f} MiB'
    if size < BUFFER_NEEDED:
        return Finding(
            _PART, 'receive buffer', Health.WARNING, f'{detail}: images are lost',
            'sudo sysctl -w net.core.rmem_max=67108864, and see doc/transport.md',
        )  # fmt: skip
    return Finding(_PART, 'receive buffer', Health.OK, detail)
