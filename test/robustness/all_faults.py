"""The faults of all modules, entered."""

from __future__ import annotations

from robustness import compressed_faults, image_faults, other_faults
from robustness.faults import (
    FAULTS,
    Await,
    Camera,
    Fault,
    Leg,
    Outcome,
    Pause,
    Publish,
    Request,
    Step,
)

__all__ = [
    'FAULTS',
    'Await',
    'Camera',
    'Fault',
    'Leg',
    'Outcome',
    'Pause',
    'Publish',
    'Request',
    'Step',
]

MODULES = (image_faults, compressed_faults, other_faults)


def faults_of(leg: Leg) -> list[Fault]:
    """Faults of one leg, in the order of their entry."""
    return [fault for fault in FAULTS.values() if fault.leg in (leg, Leg.BOTH)]
