from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.drawing import boundary_overlay
from segformer_ros.drawing.birdseye import class_color
from segformer_ros.drawing.boundary_overlay import draw_boundary
from segformer_ros.drivable import DrivableArea, DrivableAreaEstimator, DrivableConfig
from segformer_ros.frame import Stamp

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
        boundary_overlay, 'write', lambda image, text, place, *_: written.append((text, place[0]))
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
