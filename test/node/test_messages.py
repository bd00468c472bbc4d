"""Filling messages: sizes, buffers, JPEG, and calibrations of resized images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from node_rig import camera_info
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from segformer_ros.drivable import calibration_from_camera_info
from segformer_ros.node.messages import (
    ImageBuffer,
    byte_array,
    camera_info_fits,
    jpeg_message,
    scaled_camera_info,
)

pytestmark = pytest.mark.ros

HEADER = Header(frame_id='camera')


@pytest.mark.parametrize(('encoding', 'shape'), [('mono8', (4, 6)), ('bgr8', (4, 6, 3))])
def test_buffer_is_the_memory_of_the_message(encoding: str, shape: tuple[int, ...]) -> None:
    buffer = ImageBuffer(encoding)
    pixels = buffer.resize(4, 6)
    assert pixels.shape == shape
    pixels[...] = np.arange(pixels.size).reshape(shape)
    message = buffer.stamped(HEADER)
    assert np.shares_memory(np.frombuffer(message.data, np.uint8), pixels)
    assert list(message.data) == list(range(pixels.size))
    assert (message.height, message.width) == (4, 6)
    assert message.step == len(message.data) // 4
    assert message.header.frame_id == 'camera'


def test_buffer_is_kept_for_frames_of_one_size_and_changed_for_others() -> None:
    buffer = ImageBuffer('mono8')
    first = buffer.resize(4, 6)
    assert buffer.resize(4, 6) is first
    assert buffer.resize(8, 2).shape == (8, 2)
    assert len(buffer.stamped(HEADER).data) == 16


def test_jpeg_quality_makes_files_smaller() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    small, large = (jpeg_message(HEADER, pixels, quality) for quality in (10, 95))
    assert len(small.data) < len(large.data)
    decoded = cv2.imdecode(np.frombuffer(large.data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == pixels.shape


def test_arrays_of_numbers_keep_their_values() -> None:
    values = np.array([1.5, np.inf, -2.0], np.float32)
    assert byte_array(values, 'f').tolist() == values.tolist()
    assert byte_array(np.zeros(0, np.float32), 'f').tolist() == []
    assert byte_array(np.array([[1, -1], [0, 100]], np.int8).T, 'b').tolist() == [1, 0, -1, 100]


def test_camera_info_at_the_image_size_is_passed_on() -> None:
    info = camera_info(480, 640)
    scaled = scaled_camera_info(HEADER, info, 480, 640)
    assert scaled.header is HEADER
    assert info.header.frame_id == ''
    np.testing.assert_array_equal(scaled.k, info.k)


@pytest.mark.parametrize('size', [(240, 320), (100, 333)])
def test_scaled_camera_info_sees_the_same_view(size: tuple[int, int]) -> None:
    info = camera_info(480, 640)
    info.binning_x, info.binning_y = 2, 2
    info.roi = RegionOfInterest(x_offset=40, y_offset=20, width=400, height=200)
    assert camera_info_fits(info, 100, 200)
    assert not camera_info_fits(info, 480, 640)
    scaled = calibration_from_camera_info(scaled_camera_info(HEADER, info, *size))
    expected = calibration_from_camera_info(info).scaled(size[1], size[0])
    for name in ('width', 'height', 'fx', 'fy', 'cx', 'cy'):
        assert getattr(scaled, name) == pytest.approx(getattr(expected, name)), name


def test_scaled_projection_keeps_the_stereo_baseline_in_metres() -> None:
    info = camera_info(480, 640)
    info.p[3] = -30.0
    scaled = scaled_camera_info(HEADER, info, 240, 320)
    assert scaled.p[3] / scaled.p[0] == pytest.approx(info.p[3] / info.p[0])


def test_empty_camera_info_fits_no_image() -> None:
    assert not camera_info_fits(CameraInfo(), 480, 640)
