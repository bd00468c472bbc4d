# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Transport: the Fast DDS profile for images, and faults of this machine for the middleware."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path
from typing import Any, List

from segformer_ros.errors import SegformerError
from segformer_ros.resources import share_path

SHARED_MEMORY = Path('/dev/shm')

_FULL = 4 * 2**20
"""With fewer bytes free it counts as full: no 1080p frame fits."""

_PROCESSES = 2
"""Least number of processes with the profile: the camera driver and the node."""

PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
"""Name of the variable in Fast DDS 2 (up to ROS 2 Jazzy) and in Fast DDS 3."""

_SEGMENT = 68 * 2**20
"""Bytes of it that a process takes with the shipped profile, for images and for its ports."""
_DEFAULT_SEGMENT = 2 * 2**20
"""The same without a profile."""
_LEAST = 2**20
"""With less, ROS's libraries crash the process (SIGBUS) or print errors of their own."""

RECEIVE_BUFFER_LIMIT = Path('/proc/sys/net/core/rmem_max')
"""The kernel's limit for sockets of non-root programs."""

BUFFER_NEEDED = 8 * 2**20
"""Bytes of a socket's receive buffer that hold the burst of fragments of a 1080p frame."""

_COMMENT = re.compile('<!--.*?-->', re.DOTALL)

_HIGHEST_DOMAIN = 232
_FIRST_PORT, _PORTS_OF_A_DOMAIN = 7400, 250


class TransportError(SegformerError, ValueError):
    """A setting with which the middleware cannot start; names the value and what is allowed."""


def profile_variable() -> str:
    """The variable that the sourced distribution's Fast DDS reads."""
    before, since_kilted = PROFILE_VARIABLES
    return since_kilted if os.environ.get('ROS_DISTRO', '') >= 'kilted' else before


def shipped_profile() -> str:
    """Path of the profile that comes with this package; a placeholder if it is not found."""
    try:
        return str(share_path('config/fastdds.xml'))
    except FileNotFoundError:
        return '.../segformer_ros/config/fastdds.xml'


def has_shipped_profile() -> bool:
    """Whether this process runs with the profile that comes with this package."""
    given = os.environ.get(profile_variable(), '')
    return os.path.realpath(given) == os.path.realpath(shipped_profile())


def segment_size(profile: Path) -> int:
    """Largest shared-memory segment that a profile sets, bytes; 0 if it sets none.

    Raises OSError, ElementTree.ParseError and ValueError for a file that is not a profile.
    """
    tree = ElementTree.parse(profile)
    sizes = [int(e.text or 0) for e in tree.iter() if e.tag.rpartition('}')[2] == 'segment_size']
    return max(sizes, default=0)


def shared_memory_fault() -> str:
    """Why this process's profile cannot work here, and what to do about it; '' if it can.

    Containers have 64 MB of shared memory, or 16: if a segment does not fit, Fast DDS sends images
    over UDP instead. Without a profile, the answer is for the one that comes with this package.
    """
    given, shipped = os.environ.get(profile_variable(), ''), shipped_profile()
    ours = not given or Path(given).parent == Path(shipped).parent
    profile = shipped if ours else given
    try:
        segment = segment_size(Path(profile))
        total, _, free = shutil.disk_usage(SHARED_MEMORY)
    except (OSError, ElementTree.ParseError, ValueError):
        return ''
    without = ours and given and not has_shipped_profile()  # the profile for UDP only
    if not (segment and (without or free < _FULL or total < _PROCESSES * segment)):
        return ''
    return (
        f'{SHARED_MEMORY} has {free / 1e6:.0f} of {total / 1e6:.0f} MB free, and {profile} takes '
        f'{segment / 1e6:.0f} MB in each process: free some (fastdds shm clean), or start the '
        'container with --shm-size=1g (or --ipc=host)'
    )


def receive_buffer_fault() -> str:
    """Why CycloneDDS, which uses UDP, loses images or does not start; '' for no reason.

    With less than its `max` it continues, and notes that only in its trace; with less than its
    `min` it ends with "error not set".
    """
    try:
        limit = int(RECEIVE_BUFFER_LIMIT.read_text())
    except (OSError, ValueError):
        return ''
    least = _least_buffer(os.environ.get('CYCLONEDDS_URI', ''))
    cure = 'sudo sysctl -w net.core.rmem_max=67108864'
    if least > 2 * limit:  # the kernel doubles the value, for its own bookkeeping
        return (
            f'CYCLONEDDS_URI asks for a receive buffer of {_mib(least)} MiB at least, and '
            f'net.core.rmem_max allows {_mib(2 * limit)}: CycloneDDS will not start; {cure}, or '
            'write SocketReceiveBufferSize max= in place of min='
        )
    if limit < BUFFER_NEEDED:
        return (
            f'net.core.rmem_max is {_mib(limit)} MiB, in which no burst of images fits, so that '
            f'frames are lost: {cure}, and see doc/transport.md'
        )
    return ''


def _least_buffer(uri: str) -> int:
    """Receive buffer without which CycloneDDS does not start, bytes; 0 if its settings have none.

    uri: files separated by commas, or the XML itself.
    """
    texts = [uri] if uri.lstrip().startswith('<') else []
    for file in [] if texts else uri.split(','):
        path = file[len('file://') :] if file.startswith('file://') else file
        with suppress(OSError, ValueError):
            texts.append(Path(path).read_text() if path else '')
    sizes = re.findall(
        r'<SocketReceiveBufferSize\b[^>]*\bmin\s*=\s*["\']\s*(\d+)\s*([kMG]?)(i?)B',
        _COMMENT.sub('', ''.join(texts)),
    )
    powers = {'': 0, 'k': 1, 'M': 2, 'G': 3}
    return max((int(n) * (1024 if i else 1000) ** powers[unit] for n, unit, i in sizes), default=0)


def check_shared_memory() -> None:
    """Raise TransportError where importing rclpy would crash, in LTTng below it."""
    usage = _shared_memory()
    if usage is not None and usage.free < _LEAST:
        raise TransportError(
            f'{SHARED_MEMORY} is full ({_mib(usage.free)} of {_mib(usage.total)} MiB free), '
            'without which ROS does not run; remove what is left there (fastdds shm clean), or '
            'start the container with --shm-size=1g'
        )


def prepare_transport() -> List[str]:
    """Set up the middleware to start without what this machine lacks; returns that as lines.

    Fast DDS ends the process for an invalid domain, and does not report a port that another
    program has. Raises TransportError.
    """
    domain = _domain()
    if 'cyclone' in os.environ.get('RMW_IMPLEMENTATION', ''):
        return list(filter(None, (receive_buffer_fault(),)))
    if 'fastrtps' not in os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp'):
        return []
    return [*_without_shared_memory(), *_without_discovery(domain)]


def _shared_memory() -> Any:
    """Disk usage of the shared memory, bytes; None where there is none."""
    try:
        return shutil.disk_usage(SHARED_MEMORY)
    except OSError:
        return None


def _mib(size: int) -> str:
    return f'{size / 2**20:.1f}'.replace('.0', '')


def _domain() -> int:
    text = os.environ.get('ROS_DOMAIN_ID', '') or '0'
    if not (text.isdecimal() and int(text) <= _HIGHEST_DOMAIN):
        raise TransportError(
            f'ROS_DOMAIN_ID is {text!r}; give a whole number from 0 to {_HIGHEST_DOMAIN}'
        )
    return int(text)


def _without_shared_memory() -> List[str]:
    """Switch to UDP only where the shared memory is too small for a segment."""
    variable = profile_variable()
    given = os.environ.get(variable, '')
    needed = _SEGMENT if has_shipped_profile() else _DEFAULT_SEGMENT
    usage = _shared_memory()
    if usage is None or usage.free >= needed:
        return []
    said = (
        f'{SHARED_MEMORY} has {_mib(usage.free)} of {_mib(usage.total)} MiB free, and a node '
        f'takes {_mib(needed)}'
    )
    if given and not has_shipped_profile():
        return [f'{said}; free some, or see whether {given} does without it']
    os.environ[variable] = str(share_path('config/fastdds_udp.xml'))
    return [
        f'{said}: images go over UDP, which loses large ones; free some, or start the container '
        'with --shm-size=1g'
    ]


def _without_discovery(domain: int) -> List[str]:
    """A line if another program has the port on which the nodes of a domain find each other."""
    port = _FIRST_PORT + _PORTS_OF_A_DOMAIN * domain
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as test:
        test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as all nodes do
        try:
            test.bind(('', port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return [
                    f'UDP port {port} is in use by another program: nodes may not find this one; '
                    f'choose another ROS_DOMAIN_ID than {domain}'
                ]
    return []
