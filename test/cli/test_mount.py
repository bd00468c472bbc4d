# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer mount, as it is typed."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import corridor
import cv2
import numpy as np
import pytest
import recordings as rec
import yaml

from segformer_ros.camera import CameraPose, MountEstimate, camera_info_fields
from segformer_ros.cli import main as cli
from segformer_ros.cli.mount import MountDrive
from segformer_ros.frame import Stamp
from segformer_ros.recordings import BagWriter
from segformer_ros.recordings.bag_writer import header_fields, jpeg_fields
from segformer_ros.topics import CAMERA_INFO_TYPE, COMPRESSED_TYPE, ODOMETRY_TYPE

POSE = CameraPose(1.4, pitch=0.05, roll=0.02, yaw=-0.04)
ODOMETRY = '/odom'
FRAMES = 40


def odometry(stamp: Stamp, speed: float, x: float = 0.0) -> dict[str, object]:
    """Fields of nav_msgs/Odometry; without a twist where speed is 0."""
    still = {'x': 0.0, 'y': 0.0, 'z': 0.0}
    turn = {'x': 0.0, 'y': 0.0, 'z': 0.0, 'w': 1.0}
    pose = {'position': {**still, 'x': x}, 'orientation': turn}
    twist = {'linear': {**still, 'x': speed}, 'angular': still}
    return {
        'header': header_fields(stamp, 'odom'),
        'child_frame_id': 'base_link',
        'pose': {'pose': pose, 'covariance': np.zeros(36)},
        'twist': {'twist': twist, 'covariance': np.zeros(36)},
    }


def write_drive(path: Path, speeds: tuple[str, ...] = (ODOMETRY,), twist: bool = True) -> Path:
    """A bag of a drive through the street, with camera_info and odometry."""
    with BagWriter(path) as bag:
        bag.add_topic('/image/compressed', COMPRESSED_TYPE)
        bag.add_topic('/camera_info', CAMERA_INFO_TYPE)
        for topic in speeds:
            bag.add_topic(topic, ODOMETRY_TYPE)
        for index, view in enumerate(corridor.drive(corridor.straight(FRAMES), POSE)):
            stamp = Stamp.from_ns(round(view.seconds * 1e9))
            header = header_fields(stamp, 'camera')
            info = {'header': header, **camera_info_fields(corridor.CAMERA)}
            bag.write_fields('/camera_info', info, stamp.ns)
            image = jpeg_fields(header, corridor.painted(view), 95)
            bag.write_fields('/image/compressed', image, stamp.ns)
            for topic in speeds:
                x, speed = corridor.SPEED * corridor.STEP * index, corridor.SPEED * twist
                bag.write_fields(topic, odometry(stamp, speed, x), stamp.ns)
    return path


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of a drive, with one odometry."""
    return write_drive(tmp_path_factory.mktemp('drive') / 'drive.mcap')


def mount(location: Path, out: Path, *arguments: str) -> int:
    """Run the verb with the fake engine."""
    asked = ['mount', str(location), '--out', str(out), '--engine', 'fake']
    return cli.main([*asked, *arguments])


def lines_to_paste(printed: str) -> dict[str, float]:
    """The parameters that were printed."""
    found = yaml.safe_load(printed[printed.index('mount:') :].split('\n\n')[0])
    return dict(found['mount'])


def test_a_drive_with_odometry(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mount(drive, tmp_path / 'mount.png') == 0
    printed = capsys.readouterr().out
    found = lines_to_paste(printed)
    assert found['height'] == pytest.approx(1.4, rel=0.05)
    assert found['pitch'] == pytest.approx(0.05, abs=math.radians(0.2))
    assert found['yaw'] == pytest.approx(-0.04, abs=math.radians(0.2))
    assert found['roll'] == pytest.approx(0.02, abs=math.radians(0.5))
    assert re.search(r'pitch +2\.\d+ degrees +0\.\d+ +positive looks down', printed)
    assert re.search(r'by \d+ pairs of frames, at [78]\.\d m/s with a height of 1\.\d+ m', printed)
    picture = np.asarray(cv2.imread(str(tmp_path / 'mount.png')))
    assert picture.shape == (270, 480, 3)
    assert np.all(picture == (60, 200, 255), axis=-1).any()  # the horizon


def test_odometry_without_twists_and_the_tape_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_drive(tmp_path / 'drive.mcap', twist=False)
    assert mount(bag, tmp_path / 'a.png') == 0
    assert lines_to_paste(capsys.readouterr().out)['height'] == pytest.approx(1.4, rel=0.05)
    assert mount(bag, tmp_path / 'b.jpg', '--height', '1.5') == 0
    assert lines_to_paste(capsys.readouterr().out)['height'] == 1.5


def test_several_odometries_must_be_told_apart(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_drive(tmp_path / 'two.mcap', ('/gps/odom', '/wheel/odom'))
    assert mount(bag, tmp_path / 'mount.png') == 2
    assert '/gps/odom, /wheel/odom' in capsys.readouterr().err
    assert mount(drive, tmp_path / 'mount.png', '--odometry', '/image') == 2
    assert '/image is not a topic of type nav_msgs/msg/Odometry' in capsys.readouterr().err
    assert mount(drive, tmp_path / 'mount.png', '--odometry', ODOMETRY, '--speed', '3') == 2
    assert 'give one of them' in capsys.readouterr().err


def test_a_road_without_texture_tells_no_height(
    drive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    estimate = MountDrive.estimate

    def roadless(drive: MountDrive) -> MountEstimate:
        return replace(estimate(drive), height=None, pace=None)

    monkeypatch.setattr(MountDrive, 'estimate', roadless)
    assert mount(drive, tmp_path / 'mount.png', '--odometry', ODOMETRY) == 0
    printed = capsys.readouterr().out
    assert 'the road shows too little texture' in printed
    assert '--odometry' not in printed
    assert '# height: by the tape measure, m' in printed


def test_a_folder_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index, view in enumerate(corridor.drive(corridor.straight(FRAMES), POSE)):
        rec.write_png(tmp_path / f'images/{index:03d}.png', corridor.painted(view))
    out = tmp_path / 'mount.png'
    assert mount(tmp_path / 'images', out) == 2
    assert 'not calibrated; record camera_info, or give --hfov' in capsys.readouterr().err
    assert mount(tmp_path / 'images', out, '--hfov', '75') == 0
    printed = capsys.readouterr().out
    assert 'height is not known: measure it and give --height' in printed
    assert '# height: by the tape measure, m' in printed
    assert 'height' not in lines_to_paste(printed)
    assert mount(tmp_path / 'images', out, '--hfov', '75', '--odometry', ODOMETRY) == 2
    assert 'only a bag has topics; give --speed' in capsys.readouterr().err
    assert mount(tmp_path / 'images', out, '--hfov', '75', '--speed', '8') == 0
    assert lines_to_paste(capsys.readouterr().out)['height'] == pytest.approx(1.4, rel=0.05)


def test_standing_still_is_no_guess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = next(corridor.drive(corridor.straight(1), POSE))
    for index in range(25):
        rec.write_png(tmp_path / f'images/{index:03d}.png', corridor.painted(view))
    out = tmp_path / 'mount.png'
    assert mount(tmp_path / 'images', out, '--hfov', '75') == 2
    captured = capsys.readouterr()
    assert 'not enough motion: 0 pairs of frames' in captured.err
    assert 'no motion within a second' in captured.err
    assert 'mount:' not in captured.out
    assert not out.exists()


def test_frames_in_the_wrong_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index, view in enumerate(corridor.drive(corridor.straight(FRAMES), POSE)):
        rec.write_png(tmp_path / f'images/{FRAMES - index:03d}.png', corridor.painted(view))
    assert mount(tmp_path / 'images', tmp_path / 'mount.png', '--hfov', '75') == 0
    assert 'moves away from what the camera looks at' in capsys.readouterr().out
