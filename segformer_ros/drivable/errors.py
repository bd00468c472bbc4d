"""The error of this room."""

from __future__ import annotations


class DrivableError(ValueError):
    """A setting or an input from which no drivable area can be made."""
