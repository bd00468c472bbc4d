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
