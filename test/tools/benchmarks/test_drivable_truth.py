# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The acceptance of the drivable area on a few generated drives; the report takes 200."""

from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraPose
from tools.benchmarks.drivable_report import by_condition, conditions_markdown, markdown, summarise
from tools.benchmarks.drivable_score import footprints, nearest_in_spans
from tools.benchmarks.drivable_truth import any_camera, run, true_masks
from tools.street import StreetFrame

SIZE = (320, 180)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_true_labels_give_true_metres() -> None:
    drives = run(range(90, 109, 3), SIZE, any_camera, true_masks)
    summary = summarise(drives)
    assert summary.frames == 7
    assert summary.contacts > 500
    assert summary.pixels_p50 <= 0.6
    assert summary.pixels_p99 <= 1.5
    assert summary.class_right >= 0.995
    assert summary.class_nearest_to_a_pixel >= 0.995
    assert summary.free_cells > 1000
    assert summary.false_cells_beyond_border == 0
    assert '| 7, 896, ' in markdown('Title', summary)
    parts = by_condition(drives)
    lenses = ('no distortion', 'plumb_bob', 'rational_polynomial', 'equidistant')
    assert sum(parts[lens].frames for lens in lenses) == summary.frames
    assert '| plumb_bob | ' in conditions_markdown(parts)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wrong_masks_are_found_out() -> None:
    """The scores can fail: masks shifted by 3 rows break every limit."""

    def lifted(frame: StreetFrame) -> tuple[np.ndarray, float]:
        labels = np.roll(frame.labels, -3, axis=0)
        labels[-3:] = frame.labels[-3:]
        return labels, 1.0

    summary = summarise(run(range(90, 93), SIZE, any_camera, lifted))
    assert summary.pixels_p50 > 1.5
    assert summary.false_free > 0.01
    assert summary.false_cells > 0


def test_footprint_of_a_pixel() -> None:
    calibration = Calibration(4, 100, 100.0, 100.0, 1.5, 49.5)
    labels = np.zeros((100, 4), np.uint8)
    labels[:60, 0] = 13  # rows 59 and 60 see the ground at 100 / 9.5 and 100 / 10.5
    labels[:50, 1] = 13  # row 49 looks above the horizon
    labels[:100, 2] = 13
    depth = footprints(calibration, CameraPose(1.0), labels)
    slant = np.hypot(1, 1.5 / 100)
    assert depth[0] == pytest.approx((100 / 9.5 - 100 / 10.5) * slant, rel=1e-6)
    assert depth[1] == depth[3] == np.inf


def test_nearest_true_column_of_each_span() -> None:
    distance = np.array([5.0, 3, 4, np.inf, 0, 7])
    assert nearest_in_spans(distance, 3).tolist() == [1, 2, 4]
