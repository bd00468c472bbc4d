"""Horizon and grid in the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.drawing.ground_grid import draw_ground_grid

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
