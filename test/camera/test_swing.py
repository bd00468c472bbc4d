"""How a vehicle's body swings, by its IMU."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segformer_ros.camera import BodySwing, Calibration, CameraError, CameraPose, Tilt, swung
from segformer_ros.camera.mount import mount_angles
from segformer_ros.recordings.bag_writer import quaternion

CAMERA = Calibration.pinhole(640, 360, 70)
LEVEL = CameraPose(1.0).rotation()


def orientation(pitch: float, roll: float = 0.0, yaw: float = 0.0) -> tuple[float, ...]:
    """Quaternion of a body, x, y, z, w."""
    return quaternion(CameraPose(1.0, pitch, roll, yaw).rotation() @ LEVEL.T)


STILL = Tilt(0.0, 0.0)


def filled(tilt: Tilt, usual: Tilt = STILL, **options: np.ndarray) -> BodySwing:
    """A swing that has seen the usual tilt for ten seconds, then another for one sample."""
    swing = BodySwing()
    for step in range(1000):
        swing.add(step / 100, orientation(*usual, 0.3), **options)
    swing.add(10.0, orientation(*tilt, 0.3), **options)
    return swing


def test_the_swing_is_what_differs_from_the_usual_tilt() -> None:
    slope = Tilt(-0.05, 0.02)  # uphill, on a camber
    swing = filled(Tilt(-0.02, 0.05), slope)
    assert swing.at(9.99) == pytest.approx((0, 0), abs=1e-9)
    assert swing.at(10.0) == pytest.approx((0.03, 0.03), abs=1e-4)
    assert swing.at(9.995) == pytest.approx((0.015, 0.015), abs=1e-4)


def test_an_imu_that_is_mounted_another_way_round() -> None:
    axes = CameraPose(1.0, yaw=math.pi / 2).rotation() @ LEVEL.T  # its x points left
    swing = BodySwing()
    body = CameraPose(1.0, 0.03, 0.01).rotation() @ LEVEL.T
    for step in range(1000):
        swing.add(step / 100, quaternion(axes), axes)
    swing.add(10.0, quaternion(body @ axes), axes)
    assert swing.at(10.0) == pytest.approx((0.03, 0.01), abs=1e-4)


@pytest.mark.parametrize('seconds', [-1.0, 10.03, 20.0])
def test_no_orientation_around_the_stamp(seconds: float) -> None:
    with pytest.raises(CameraError, match='no imu orientations around the stamp.*use_imu'):
        filled(Tilt(0.0, 0.0)).at(seconds)


def test_a_gap_is_not_filled() -> None:
    swing = filled(Tilt(0.0, 0.0))
    swing.add(10.3, orientation(0.0))
    with pytest.raises(CameraError, match='50 Hz or more'):
        swing.at(10.15)
    assert swing.at(10.3) == pytest.approx((0, 0), abs=1e-6)


def test_time_that_jumps_starts_anew() -> None:
    swing = filled(Tilt(0.0, 0.0))
    swing.add(2.0, orientation(0.04))
    assert swing.at(2.0) == (0, 0)
    with pytest.raises(CameraError):
        swing.at(9.99)


def test_what_is_no_orientation_of_a_vehicle() -> None:
    swing = BodySwing()
    with pytest.raises(CameraError, match='tilted by 180 degrees.*x forward, y left, z up'):
        swing.add(0.0, orientation(0.0, math.pi))
    with pytest.raises(CameraError, match='length is 0 and not 1'):
        swing.add(0.0, (0.0, 0.0, 0.0, 0.0))


def test_a_swung_camera_looks_where_the_body_takes_it() -> None:
    pose = CameraPose(1.4, pitch=0.05, roll=0.01, yaw=-0.3, x=1.5, y=0.2)
    found = swung(pose, Tilt(0.03, -0.02))
    body = CameraPose(1.0, 0.03, -0.02).rotation() @ LEVEL.T
    assert found.rotation() == pytest.approx(body @ pose.rotation())
    assert (found.height, found.x, found.y) == (1.4, 1.5, 0.2)
    assert mount_angles(found.rotation()) == pytest.approx((found.pitch, found.yaw, found.roll))
    straight = CameraPose(1.4, pitch=0.05)
    assert swung(straight, Tilt(0.03, 0.0)).pitch == pytest.approx(0.08)


def distance_errors(period: float, degrees: float = 2.0) -> tuple[float, float]:
    """RMS errors, m, of a contact 15 m ahead on a swinging vehicle: without the imu, and with."""
    rng = np.random.default_rng(4)
    mount, swing = CameraPose(1.4, pitch=0.03), BodySwing()

    def tilt(seconds: float) -> Tilt:
        phase = 2 * math.pi * seconds / period
        size = math.radians(degrees)
        return Tilt(size * math.sin(phase), size * math.sin(0.7 * phase + 1) / 2)

    errors = []
    for step in range(3000):  # an imu of 100 Hz with noise, on a slope of 5 %
        pitch, roll = np.array(tilt(step / 100)) + rng.normal(0, math.radians(0.1), 2)
        swing.add(step / 100, orientation(pitch - 0.05, roll, 0.1 * step / 100))
        if step > 500 and step % 10 == 0:
            stamp = step / 100 - 0.033
            true = swung(mount, tilt(stamp))
            place = (np.array([15.0, 0.0, 0.0]) - true.position) @ true.rotation()
            ray = CAMERA.unproject(CAMERA.project(place))
            errors.append([ahead(ray, one) - 15 for one in (mount, swung(mount, swing.at(stamp)))])
    without, with_imu = np.sqrt(np.square(errors).mean(axis=0))
    return float(without), float(with_imu)


def ahead(ray: np.ndarray, pose: CameraPose) -> float:
    """Where a ray meets the ground, m ahead; at most 100."""
    x, _, z = pose.rotation() @ ray
    return min(float(-pose.height * x / z), 100.0) if z < 0 else 100.0


@pytest.mark.parametrize('period', [0.7, 1.5, 3.0])
def test_the_error_at_15_m_falls_to_a_third(period: float) -> None:
    without, with_imu = distance_errors(period)
    print(f'swing of +-2 degrees in {period} s: {without:.2f} m without, {with_imu:.2f} m with')
    assert without > 2
    assert with_imu <= without / 3
