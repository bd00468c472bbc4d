# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer doctor, as it is typed, and its checks of ROS 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from segformer_ros.cli import doctor
from segformer_ros.cli.checks import Finding, Health
from segformer_ros.cli.doctor import from_wheels, missing_neighbour, profile_finding
from segformer_ros.cli.main import main


def test_every_part_is_examined(capsys: pytest.CaptureFixture[str]) -> None:
    main(['doctor', '--json'])
    findings = json.loads(capsys.readouterr().out)
    assert {finding['part'] for finding in findings} == {'machine', 'software', 'GPU', 'ROS 2'}
    by_name = {finding['name']: finding for finding in findings}
    assert by_name['bundled model']['verdict'] == 'OK'
    assert '(width x height)' in by_name['bundled model']['detail']
    assert by_name['OpenVINO (CPU engine)']['detail'].endswith('CPU')


@pytest.mark.parametrize(('verdict', 'code'), [(Health.WARNING, 0), (Health.BROKEN, 1)])
def test_cures_are_listed_and_the_code_tells(
    verdict: Health,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finding = Finding('software', 'cv2', verdict, 'missing', 'pip install it')
    monkeypatch.setattr(doctor, 'examine', lambda: [finding])
    assert main(['doctor']) == code
    assert 'What to do:\n- cv2: pip install it\n' in capsys.readouterr().out


PROFILE = """<?xml version="1.0"?>
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"><profiles>
<transport_descriptors><transport_descriptor><type>SHM</type>
<segment_size>{size}</segment_size></transport_descriptor></transport_descriptors>
</profiles></dds>"""


def test_the_shipped_profile_is_fit_for_images(repo: Path) -> None:
    finding = profile_finding(str(repo / 'config/fastdds.xml'))
    assert finding.verdict is Health.OK
    assert '64 MiB' in finding.detail


@pytest.mark.parametrize(
    ('text', 'verdict', 'words'),
    [
        (PROFILE.format(size=524288), Health.WARNING, '0.5 MiB, too little for images'),
        ('<dds></dds>', Health.WARNING, '0.0 MiB, too little'),
        ('not xml', Health.BROKEN, 'cannot be read: syntax error'),
        (None, Health.BROKEN, 'cannot be read: no such file or folder'),
    ],
)
def test_other_profiles_are_told_from_it(
    tmp_path: Path, text: str | None, verdict: Health, words: str
) -> None:
    profile = tmp_path / 'mine.xml'
    if text is not None:
        profile.write_text(text)
    finding = profile_finding(str(profile))
    assert finding.verdict is verdict
    assert words in finding.detail
    assert 'config/fastdds.xml' in finding.cure


@pytest.mark.parametrize(
    ('distribution', 'variable'),
    [
        ('humble', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('jazzy', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE'),
        ('rolling', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_no_profile_is_warned_of(
    distribution: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ROS_DISTRO', distribution)
    finding = profile_finding(None)
    assert finding.verdict is Health.WARNING
    assert 'is not set' in finding.detail
    assert finding.cure.startswith(f'export {variable}=')


@pytest.mark.parametrize(
    ('wheels', 'detail', 'cure'),
    [
        (True, 'ROS 2 from wheels does not have it: no labels', 'look there; or source a ROS 2'),
        (False, 'no labels', 'sudo apt-get install ros-jazzy-vision-msgs'),
    ],
)
def test_what_is_missing_is_advised_for_where_ros_comes_from(
    wheels: bool, detail: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    finding = missing_neighbour('vision_msgs', 'no labels', 'look there', wheels)
    assert finding.verdict is Health.WARNING
    assert finding.detail == detail
    assert finding.cure.startswith(cure)
    assert ('apt' in finding.cure) == (not wheels)


def test_wheels_are_told_from_a_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, sourced = tmp_path / 'site', tmp_path / 'opt'
    (site / 'ros_jazzy_rclpy-1.0.dist-info').mkdir(parents=True)
    (site / 'ros_jazzy_rclpy-1.0.dist-info/METADATA').write_text('Name: ros-jazzy-rclpy\n')
    for folder in (site, sourced):
        (folder / 'rclpy').mkdir(parents=True)
        (folder / 'rclpy/__init__.py').touch()
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    monkeypatch.delitem(sys.modules, 'rclpy', raising=False)
    monkeypatch.setattr(sys, 'path', [str(site)])
    assert from_wheels()
    monkeypatch.setattr(sys, 'path', [str(sourced), str(site)])
    assert not from_wheels()
    monkeypatch.setattr(sys, 'path', [str(sourced)])
    assert not from_wheels()
