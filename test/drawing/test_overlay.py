# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Overlay: colours and their mixture, the ground grid."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.drawing import overlay as drawing
from segformer_ros.drawing.overlay import (
    Panel,
    blend,
    class_color,
    colorize,
    draw_boundary,
    draw_ground_grid,
    draw_legend,
    side_by_side,
    text_size,
    write,
)
from segformer_ros.drivable import DrivableArea, DrivableAreaEstimator, DrivableConfig
from segformer_ros.frame import Stamp

PALETTE = load_class_map('cityscapes').palette_bgr
LABELS = np.random.default_rng(3).choice([0, 5, 18, 255], (31, 47)).astype(np.uint8)


def test_colours_are_those_of_the_palette() -> None:
    np.testing.assert_array_equal(colorize(LABELS, PALETTE), PALETTE[LABELS])


@pytest.mark.parametrize('opacity', [0.0, 0.35, 1.0])
def test_opacity_mixes_image_and_colours(opacity: float) -> None:
    image = np.random.default_rng(4).integers(0, 256, (31, 47, 3), np.uint8)
    wanted = opacity * PALETTE[LABELS].astype(float) + (1 - opacity) * image
    assert np.abs(blend(image, LABELS, PALETTE, opacity) - wanted).max() <= 0.51


def test_result_is_written_where_asked() -> None:
    image = np.zeros((31, 47, 3), np.uint8)
    out = np.empty_like(image)
    assert blend(image, LABELS, PALETTE, 1.0, out) is out
    np.testing.assert_array_equal(out, PALETTE[LABELS])


BUILDING = 2


@pytest.fixture(scope='module')
def class_map() -> ClassMap:
    return load_class_map('cityscapes')


def area_of(class_map: ClassMap, calibrated: bool) -> DrivableArea:
    labels = np.zeros((180, 320), np.uint8)
    labels[:100] = BUILDING
    estimator = DrivableAreaEstimator(DrivableConfig(), class_map)
    if not calibrated:
        return estimator.update(labels)
    return estimator.update(
        labels, None, Calibration.pinhole(320, 180, 70.0), CameraPose(1.4, pitch=0.1)
    )


@pytest.mark.parametrize('scale', [1, 2])
def test_line_lies_on_the_boundary_in_the_blockers_colour(class_map: ClassMap, scale: int) -> None:
    image = np.zeros((180 * scale, 320 * scale, 3), np.uint8)
    draw_boundary(image, area_of(class_map, calibrated=False), class_map)
    rows, columns = np.nonzero((image == class_color(class_map, BUILDING)).all(axis=-1))
    assert abs(rows.mean() - 100 * scale) <= 2 * scale
    assert len(np.unique(columns)) == 320 * scale


def test_distances_are_written_only_in_metres(class_map: ClassMap) -> None:
    white = []
    for calibrated in (False, True):
        image = np.zeros((180, 320, 3), np.uint8)
        draw_boundary(image, area_of(class_map, calibrated), class_map)
        white.append(int((image > 150).all(axis=-1).sum()))
    assert white[0] == 0
    assert white[1] > 20


def test_the_nearest_distances_are_written(
    class_map: ClassMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((180, 320), np.uint8)
    labels[:100] = BUILDING
    labels[:140, 150:153] = BUILDING  # narrow, and nearer than all the rest
    area = DrivableAreaEstimator(DrivableConfig(), class_map).update(
        labels, None, Calibration.pinhole(320, 180, 70.0), CameraPose(1.4, pitch=0.1)
    )
    written: list[tuple[str, int]] = []
    monkeypatch.setattr(
        drawing, 'write', lambda image, text, place, *_: written.append((text, place[0]))
    )
    draw_boundary(np.zeros((180, 320, 3), np.uint8), area, class_map)
    nearest = f'{area.free_distance.min():.1f}'
    places = sorted({left for text, left in written})
    assert written[0][0] == nearest
    assert 110 < written[0][1] < 160
    assert np.diff(places).min() > 60
    assert places[0] >= 0


def test_area_without_columns_draws_nothing(class_map: ClassMap) -> None:
    image = np.zeros((18, 32, 3), np.uint8)
    draw_boundary(image, DrivableArea.invalid(Stamp(0, 0), 'too old'), class_map)
    assert not image.any()


@pytest.mark.parametrize('size', [0.35, 0.5, 0.8])
def test_letters_have_a_thin_outline_all_around(size: float) -> None:
    image = np.full((60, 400, 3), 128, np.uint8)
    write(image, 'corridor: 8.7 m, motorcycle', (10, 40), size, (255, 255, 255), (0, 0, 0))
    grey = image[..., 0]
    light, dark = grey > 170, grey < 90
    assert light.any()
    columns, outline = np.flatnonzero(light.any(axis=0)), np.flatnonzero(dark.any(axis=0))
    assert 0 < columns[0] - outline[0] <= 3
    assert 0 < outline[-1] - columns[-1] <= 3
    near = cv2.dilate(light.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert (dark & ~near).mean() < 0.002


def test_size_is_that_of_what_is_written() -> None:
    image = np.zeros((60, 400, 3), np.uint8)
    write(image, '24 m', (10, 40), 0.5, (255, 255, 255), (0, 0, 0))
    columns = np.flatnonzero((image > 128).any(axis=(0, 2)))
    assert columns[-1] - columns[0] == pytest.approx(text_size('24 m', 0.5)[0], abs=6)


CITYSCAPES = load_class_map('cityscapes')


def colors(picture: np.ndarray) -> set[tuple[int, ...]]:
    """All colours of a picture."""
    return {tuple(color) for color in np.unique(picture.reshape(-1, 3), axis=0).tolist()}


def of_class(train_id: int) -> tuple[int, ...]:
    return tuple(CITYSCAPES.palette_bgr[train_id].tolist())


def test_the_classes_shown_have_their_colours() -> None:
    legend = draw_legend(CITYSCAPES, [0, 13], 640)
    assert {of_class(0), of_class(13)} <= colors(legend)
    assert of_class(1) not in colors(legend)


@pytest.mark.parametrize('width', [150, 320, 1300])
def test_all_classes_fit_in_lines(width: int) -> None:
    legend = draw_legend(CITYSCAPES, range(19), width)
    assert legend.shape[1] == width
    assert {of_class(train_id) for train_id in range(19)} <= colors(legend)
    assert (legend[:, -4:] == legend[0, 0]).all(), 'a name that is cut off'


def test_pixels_without_a_class_have_no_entry() -> None:
    np.testing.assert_array_equal(
        draw_legend(CITYSCAPES, [0, 255], 320), draw_legend(CITYSCAPES, [0], 320)
    )


def panel(value: int, height: int, width: int) -> Panel:
    """A panel of one even colour."""
    return Panel(str(value), np.full((height, width, 3), (value, 0, 0), np.uint8))


def test_two_panels_stand_above_the_others_at_one_height() -> None:
    values = (200, 100, 50, 150)
    sizes = ((60, 80), (120, 40), (30, 30), (60, 10))
    picture = side_by_side([panel(v, *size) for v, size in zip(values, sizes, strict=True)], 60)
    places = [np.argwhere((picture == (value, 0, 0)).all(axis=2)) for value in values]
    assert [len(place) for place in places] == [60 * 80, 60 * 20, 60 * 60, 60 * 10]
    first, second, third, fourth = (place.min(axis=0).tolist() for place in places)
    assert first[0] == second[0] < third[0] == fourth[0]
    assert first[1] == third[1] < second[1]
    assert third[1] < fourth[1]


def test_titles_are_written_above() -> None:
    picture = side_by_side([panel(0, 60, 80)], 60)
    assert picture[:24].max() > 200


HORIZON, AHEAD = (60, 200, 255), (80, 255, 120)
CAMERA = Calibration.pinhole(320, 180, 70)
BLANK = np.zeros((180, 320, 3), np.uint8)


def places(drawn: np.ndarray, color: tuple[int, ...]) -> np.ndarray:
    """Rows and columns (n, 2) of a colour."""
    return np.argwhere((drawn == color).all(axis=-1))


@pytest.mark.parametrize('pitch', [-0.1, 0.0, 0.15])
def test_the_horizon_lies_by_the_pitch(pitch: float) -> None:
    drawn = draw_ground_grid(BLANK, CAMERA, CameraPose(1.4, pitch=pitch))
    row = places(drawn, HORIZON)[:, 0].mean()
    assert row == pytest.approx(CAMERA.cy - CAMERA.fy * math.tan(pitch), abs=1.5)
    assert not BLANK.any()


def test_roll_tilts_it_and_yaw_moves_ahead() -> None:
    pose = CameraPose(1.4, roll=0.1, yaw=0.1)
    drawn = draw_ground_grid(BLANK, CAMERA, pose)
    rows, columns = places(drawn, HORIZON).T
    slope = np.polyfit(columns, rows, 1)[0]
    assert slope == pytest.approx(-math.tan(0.1), abs=0.02)  # the right side down: horizon rises
    nearest = places(drawn, AHEAD)
    far = nearest[nearest[:, 0] == nearest[:, 0].min()][:, 1].mean()
    assert far > CAMERA.cx + 15  # looks left, so ahead is to the right


def test_a_lens_bends_lines() -> None:
    lens = Calibration(320, 180, 150, 150, 160, 90, 'equidistant', (0.0, 0.0, 0.0, 0.0))
    drawn = draw_ground_grid(BLANK, lens, CameraPose(1.4, pitch=0.3))
    rows, columns = places(drawn, HORIZON).T
    assert rows[np.abs(columns - 160) < 10].mean() < rows[np.abs(columns - 160) > 120].mean() - 5


def test_a_camera_that_sees_no_ground() -> None:
    drawn = draw_ground_grid(BLANK, CAMERA, CameraPose(1.4, pitch=-1.2))
    assert not len(places(drawn, HORIZON))
