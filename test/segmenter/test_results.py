# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The folder of a run's results."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import recordings as rec

from segformer_ros.classes import load_class_map
from segformer_ros.recordings import open_source
from segformer_ros.segmenter.results import PICTURES, ResultFolder, SegmentedView, draw_overlay

CITYSCAPES = load_class_map('cityscapes')


def view(index: int, **changes: object) -> SegmentedView:
    """A grey frame that is all road."""
    base = SegmentedView(
        f'{index:03d}',
        index * 100_000_000,
        np.full((48, 64, 3), 100, np.uint8),
        np.zeros((48, 64), np.uint8),
    )
    return base._replace(**changes)  # type: ignore[arg-type]


def write(folder: Path, count: int, **changes: object) -> list[str]:
    """Write views; the names of the pictures."""
    with ResultFolder(folder, CITYSCAPES, count) as results:
        for index in range(count):
            results.add(view(index, **changes))
    return sorted(path.stem for path in (folder / 'frames').iterdir())


def test_some_frames_become_pictures_evenly_spread(tmp_path: Path) -> None:
    assert write(tmp_path, 51) == ['000', '010', '020', '030', '040', '050']
    assert len(open_source(tmp_path / 'overlay.mp4')) == 51


def test_few_frames_all_become_pictures(tmp_path: Path) -> None:
    assert write(tmp_path, 3) == ['000', '001', '002']
    assert PICTURES > 3


def test_an_earlier_run_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, 51)
    assert write(tmp_path, 1) == ['000']
    assert len(open_source(tmp_path / 'overlay.mp4')) == 1


def test_a_smaller_mask_is_not_shifted() -> None:
    labels = np.array([[0, 8, 0]], np.uint8)
    image = np.zeros((1, 5, 3), np.uint8)
    overlay = draw_overlay(view(0, image=image, labels=labels), CITYSCAPES)
    np.testing.assert_array_equal(overlay, overlay[:, ::-1])


def test_the_overlay_is_drawn_from_a_smaller_mask_too(tmp_path: Path) -> None:
    write(tmp_path, 1, labels=np.zeros((24, 32), np.uint8))
    frame = next(iter(open_source(tmp_path / 'overlay.mp4'))).frame
    assert frame is not None
    # Half grey 100, half road (128, 64, 128).
    assert np.abs(frame.pixels.reshape(-1, 3).mean(axis=0) - (114, 82, 114)).max() < 6


def test_an_overlay_drawn_elsewhere_is_taken_and_truth_is_shown_beside_it(tmp_path: Path) -> None:
    drawn = rec.picture(25)
    write(tmp_path, 1, overlay=drawn, truth=np.full((48, 64), 13, np.uint8))
    picture = cv2.imread(str(tmp_path / 'frames' / '000.png'))
    assert picture is not None
    assert (picture == 200).all(axis=2).sum() > 10_000
    assert (picture == (142, 0, 0)).all(axis=2).sum() > 10_000
