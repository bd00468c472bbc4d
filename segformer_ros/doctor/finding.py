"""What the doctor says about one thing."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    """How a thing stands."""

    OK = 'ok'
    ABSENT = '-'
    """Not here, and not needed."""
    WARNING = 'warning'
    """Works, but not as well as it could."""
    BROKEN = 'broken'
    """Something does not run because of it."""


class Finding(NamedTuple):
    """One thing, how it stands, and the cure in words where it needs one."""

    part: str
    name: str
    verdict: Verdict
    detail: str
    cure: str = ''
