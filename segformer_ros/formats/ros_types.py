"""ROS 2's message types, as far as the installed rosbags knows them."""

from __future__ import annotations

from typing import Any, List

_DISTRIBUTIONS = ('JAZZY', 'IRON', 'HUMBLE')
"""Newest first; of what is read and written here the types are the same in all of them."""


def ros_types() -> Any:
    """A new typestore of rosbags, to which more types may be added.

    rosbags before 0.10.10, which Python 3.8 and 3.9 are left with, does not know Jazzy.
    """
    from rosbags.typesys import Stores, get_typestore

    stores = [getattr(Stores, f'ROS2_{name}', None) for name in _DISTRIBUTIONS]
    return get_typestore(next(store for store in stores if store is not None))


def definitions(types: Any) -> Any:
    """What a typestore knows: constants and fields by message type."""
    return getattr(types, 'fielddefs', None) or types.FIELDDEFS  # before 0.10


def field_names(types: Any, msgtype: str) -> List[str]:
    """Names of a message's fields in a typestore, in order."""
    return [name for name, _ in definitions(types)[msgtype][1]]
