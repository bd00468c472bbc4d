# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Fixtures of the segmenter's tests."""

from __future__ import annotations

from typing import Any

import pytest

from segformer_ros.engines import EngineError
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame


@pytest.fixture
def first_frame_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake engine has no memory for the first frame that it is given."""
    original: Any = FakeEngine.start
    calls: list[Frame] = []

    def failing_first(self: FakeEngine, frames: list[Frame], wanted: Any) -> Any:
        calls.extend(frames)
        if len(calls) == 1:
            raise EngineError('no memory')
        return original(self, frames, wanted)

    monkeypatch.setattr(FakeEngine, 'start', failing_first)
