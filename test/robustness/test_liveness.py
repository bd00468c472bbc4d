# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Masks come again, whatever was stopped and started; `./run fuzz --parts changes` for longer."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy')

from robustness.liveness import Liveness

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures('ros')]


@pytest.mark.timeout(600)
@pytest.mark.parametrize('seed', range(4))
def test_masks_come_again(seed: int) -> None:
    with Liveness(seed) as liveness:
        for _ in range(6):
            liveness.run()
        assert liveness.counts['masks again'] == 6
