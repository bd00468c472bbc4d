"""Transport: the Fast DDS profile with which images arrive, and the variable that names it."""

from __future__ import annotations

import os

from segformer_ros.resources import share_path

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
