"""The node under test, in this process, with a probe that plays its cameras and its users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


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
