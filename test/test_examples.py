# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The examples run as they stand, on tiny recordings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from math import inf
from pathlib import Path
from time import monotonic

import cv2
import numpy as np
import painted
import pytest
import recordings as rec

from segformer_ros.camera import CameraPose


def run(repo: Path, name: str, *arguments: object) -> str:
    """What an example prints; it has to end well."""
    command = [sys.executable, str(repo / 'examples' / name), *map(str, arguments)]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(repo), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_are_tried(repo: Path) -> None:
    text = Path(__file__).read_text()
    names = [path.name for path in (repo / 'examples').glob('*.py')]
    assert len(names) == 5
    assert all(f"'{name}'" in text for name in names)


def test_picture(repo: Path, tmp_path: Path) -> None:
    image = np.full((128, 256, 3), 127, np.uint8)
    cv2.imwrite(str(tmp_path / 'street.png'), image)
    lines = run(repo, 'picture.py', tmp_path / 'street.png', tmp_path / 'overlay.png')
    shares = [float(share) for share in re.findall(r'^\S.*? +([\d.]+)%$', lines, re.MULTILINE)]
    assert sum(shares) == pytest.approx(100, abs=2)
    overlay = cv2.imread(str(tmp_path / 'overlay.png'))
    assert overlay is not None and overlay.shape == image.shape


def test_video(repo: Path, tmp_path: Path) -> None:
    rec.write_video(tmp_path / 'clip.mp4', 3)
    lines = run(repo, 'video.py', tmp_path / 'clip.mp4', 70, 1.4, 3).splitlines()
    assert len(lines) == 3
    assert all(re.search(r' s: free for +\S+ m \+- \S+ m$', line) for line in lines)


def test_bag(repo: Path, tmp_path: Path) -> None:
    bag = painted.write_bag(tmp_path / 'drive', 2, pose=CameraPose(1.2))
    lines = run(repo, 'bag.py', bag, tmp_path / 'masks').splitlines()
    assert lines[0] == 'drive: 2 frames'
    assert len(lines) == 3 and all(line.endswith(' m') for line in lines[1:])
    masks = [
        cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (tmp_path / 'masks').iterdir()
    ]
    assert len(masks) == 2
    assert all(mask is not None and mask.shape == painted.SIZE for mask in masks)


def test_own_camera(repo: Path, tmp_path: Path) -> None:
    rec.write_video(tmp_path / 'clip.mp4', 3)
    lines = run(repo, 'own_camera.py', tmp_path / 'clip.mp4').splitlines()
    assert len(lines) == 3
    assert all(re.fullmatch(r'road \d+%, \d+ ms', line) for line in lines)


@pytest.mark.ros
@pytest.mark.usefixtures('ros')
def test_planner(repo: Path) -> None:
    """Nothing heard, nothing valid, a free road and one that is blocked."""
    import rclpy

    from segformer_ros.msg import DrivableArea

    node = rclpy.create_node('fake_camera')
    publisher = node.create_publisher(DrivableArea, 'drivable_area', 1)
    command = [sys.executable, str(repo / 'examples' / 'planner.py')]
    planner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert planner.stdout is not None
        wanted = {
            'stop: nothing is heard': None,
            'stop: no mount': DrivableArea(valid=True, reason='no mount'),
            'go: free for 30.0 m': _free_for(30.0),
            'brake: free for 6.0 m': _free_for(6.0),
            'go: free for 80.0 m': _free_for(80.0, sigma=57.0),  # half a degree of pitch
            'brake: free for 12.0 m': _free_for(12.0, sigma=4.0),
            'go: free for inf m': _free_for(inf, sigma=inf),
            'brake: free for 0.0 m': _free_for(0.0, sigma=0.0),
        }
        for words, message in wanted.items():
            until = monotonic() + 60
            for line in planner.stdout:
                if line.strip() == words:
                    break
                assert monotonic() < until, f'{words!r} did not come, but {line!r}'
                if message is not None:
                    publisher.publish(message)
    finally:
        planner.terminate()
        planner.communicate()
        node.destroy_node()


def _free_for(metres: float, sigma: float = 0.5):  # type: ignore[no-untyped-def]
    from segformer_ros.msg import DrivableArea

    area = DrivableArea(valid=True, calibrated=True)
    area.corridor_distance, area.corridor_sigma = metres, sigma
    return area
