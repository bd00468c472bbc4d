from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.drivable import DrivableError, Hood


@pytest.mark.parametrize(('rows', 'start'), [(0.0, 9), (0.1, 8), (0.5, 4), (0.99, -1)])
def test_columns_start_above_the_hood(rows: float, start: int) -> None:
    starts = Hood(rows).starts(10, 4)
    assert starts.tolist() == [start] * 4
    assert starts.dtype == np.int32


@pytest.mark.parametrize('rows', [-0.1, 1.0, float('nan')])
def test_impossible_hoods_are_refused(rows: float) -> None:
    with pytest.raises(DrivableError, match=f'hood rows {rows} is outside 0..1'):
        Hood(rows)
