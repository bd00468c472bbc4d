# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

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
