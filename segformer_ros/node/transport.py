"""Transport: the Fast DDS profile with which images arrive, and the variable that names it."""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from segformer_ros.resources import share_path

SHARED_MEMORY = Path('/dev/shm')

_FULL = 4 * 2**20
"""Bytes of it that are left where it is full: no 1080p frame fits."""

_PROCESSES = 2
"""That use the profile at least: the camera driver and the node."""

PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
"""Name of the variable in Fast DDS 2 (up to ROS 2 Jazzy) and in Fast DDS 3."""


def profile_variable() -> str:
    """The variable that the sourced distribution's Fast DDS reads."""
    before, since_kilted = PROFILE_VARIABLES
    return since_kilted if os.environ.get('ROS_DISTRO', '') >= 'kilted' else before


def shipped_profile() -> str:
    """Path of the profile that comes along, as far as it is known."""
    try:
        return str(share_path('config/fastdds.xml'))
    except FileNotFoundError:
        return '.../segformer_ros/config/fastdds.xml'


def has_shipped_profile() -> bool:
    """Whether this process runs with the profile that comes along."""
    given = os.environ.get(profile_variable(), '')
    return os.path.realpath(given) == os.path.realpath(shipped_profile())


def segment_size(profile: Path) -> int:
    """Largest shared-memory segment that a profile gives, bytes; 0 where it gives none.

    Raises OSError, ElementTree.ParseError and ValueError for what is no profile.
    """
    tree = ElementTree.parse(profile)
    sizes = [int(e.text or 0) for e in tree.iter() if e.tag.rpartition('}')[2] == 'segment_size']
    return max(sizes, default=0)


def shared_memory_fault() -> str:
    """Why this process's profile cannot work here, and what to do about it; '' where it can.

    Containers have 64 MB of shared memory, or 16: where a segment does not fit, Fast DDS sends
    images by UDP instead. Without a profile it is asked of the one that comes along.
    """
    given, shipped = os.environ.get(profile_variable(), ''), shipped_profile()
    ours = not given or Path(given).parent == Path(shipped).parent
    profile = shipped if ours else given
    try:
        segment = segment_size(Path(profile))
        total, _, free = shutil.disk_usage(SHARED_MEMORY)
    except (OSError, ElementTree.ParseError, ValueError):
        return ''
    without = ours and given and not has_shipped_profile()  # the one for machines without room
    if not (segment and (without or free < _FULL or total < _PROCESSES * segment)):
        return ''
    return (
        f'{SHARED_MEMORY} has {free / 1e6:.0f} of {total / 1e6:.0f} MB free, and {profile} takes '
        f'{segment / 1e6:.0f} MB in each process: free some (fastdds shm clean), or start the '
        'container with --shm-size=1g (or --ipc=host)'
    )
