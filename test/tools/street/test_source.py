# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The generated drive as a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segformer_ros.recordings import SourceError, SourceOptions, open_source


def test_everything_about_the_drive_is_known() -> None:
    source = open_source('street:3:6', SourceOptions(fps=5.0))
    assert source.labelled
    assert source.calibration is not None
    assert source.pose is not None
    first, second = source.frames(4)
    assert first.frame is not None
    assert second.frame is not None
    assert second.frame.stamp.ns - first.frame.stamp.ns == 200_000_000
    assert first.labels is not None
    assert first.labels.shape == (first.frame.height, first.frame.width)
    assert first.truth.free_distance is not None
    assert first.truth.free_distance.shape == (first.frame.width,)


def test_a_frame_is_the_same_whatever_was_read_before() -> None:
    source = open_source('street::3')
    whole = list(source)[2]
    alone = next(source.frames(2))
    assert whole.frame is not None
    assert alone.frame is not None
    assert np.array_equal(whole.frame.pixels, alone.frame.pixels)


@pytest.mark.parametrize('name', ['street:x', 'street:1:0', 'street:1:00', 'street:1:2:3'])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match=r'is named street:\[SEED\]\[:FRAMES\]'):
        open_source(name)


def test_labels_of_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='has labels of its own; .*labels is not for it'):
        open_source('street:1:2', SourceOptions(labels=tmp_path / 'labels'))
