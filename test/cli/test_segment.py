# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer segment, as it is typed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import painted
import pytest
import recordings as rec
from rosbags.highlevel import AnyReader

from segformer_ros.camera import CameraPose
from segformer_ros.cli import main as cli
from segformer_ros.destination import lock_folder
from segformer_ros.recordings.bag_writer import mount_message


def test_a_video_by_its_url_as_deepstream_applications_take_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = rec.write_video(tmp_path / 'my drive.mp4', 4)
    url = f'file://{str(video).replace(" ", "%20")}'
    out = str(tmp_path / 'out')
    assert cli.main(['segment', '-i', url, '--out', out, '--engine', 'fake']) == 0
    found = json.loads((tmp_path / 'out/summary.json').read_text())
    assert (found['frames_in'], found['engine'], found['source']) == (4, 'fake', 'my drive')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'drivable.jsonl',
        'drive.mcap',
        'frames',
        'masks',
        'overlay.mp4',
        'summary.json',
    ]
    captured = capsys.readouterr()
    assert '4 in, 4 segmented' in captured.out
    (said,) = [line for line in captured.err.splitlines() if 'without metres' in line]
    assert '--hfov' in said
    assert '--height' in said


def test_a_second_run_into_a_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = rec.write_folder(tmp_path / 'images', 2), tmp_path / 'out'
    out.mkdir()
    asked = ['segment', str(images), '--out', str(out), '--engine', 'fake']
    lock = lock_folder(out)
    assert cli.main(asked) == 2
    assert f'another run writes into {out}; wait for it' in capsys.readouterr().err
    os.close(lock)
    assert cli.main(asked) == 0


def calibrated(out: Path) -> list[bool]:
    """Whether each line of drivable.jsonl is in metres."""
    lines = (out / 'drivable.jsonl').read_text().splitlines()
    return [json.loads(line)['calibrated'] for line in lines]


def write_bag(path: Path, vehicle: str = 'base_link') -> Path:
    """A bag of one image whose camera is calibrated and has its mount in /tf_static."""
    with rec.open_bag(path) as writer:
        bag = rec.BagRecorder(writer)
        mount = mount_message(CameraPose(1.4, pitch=0.1), vehicle, 'front_optical', 1)
        time = rec.stamp_ns(0)
        bag.write(bag.topic('/tf_static', rec.TF), mount, time)
        bag.write(bag.topic('/camera_info', rec.INFO), rec.camera_info(), time)
        bag.write(bag.topic('/image', rec.IMAGE), rec.image(rec.picture(0), 'bgr8', time), time)
    return path


def test_a_bag_with_its_mount_needs_no_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, out = write_bag(tmp_path / 'bag'), tmp_path / 'out'
    assert cli.main(['segment', str(bag), '--out', str(out), '--engine', 'fake']) == 0
    assert calibrated(out) == [True]
    assert 'metres' not in capsys.readouterr().err


def test_another_vehicle_frame_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, out = write_bag(tmp_path / 'bag', 'chassis'), tmp_path / 'out'
    command = ['segment', str(bag), '--out', str(out), '--engine', 'fake']
    assert cli.main(command) == 0
    assert calibrated(out) == [False]
    said = capsys.readouterr().err
    assert 'the frames are chassis, front_optical; give another frame' in said
    assert 'without metres: no mount of the camera is known' in said
    assert '--hfov' not in said
    (line,) = (out / 'drivable.jsonl').read_text().splitlines()
    reason = json.loads(line)['reason']
    assert reason.startswith('no mount of the camera is known: /tf_static does not give')
    assert 'the frames are chassis, front_optical' in reason
    assert cli.main([*command, '--vehicle-frame', 'chassis']) == 0
    assert calibrated(out) == [True]
    capsys.readouterr()
    with AnyReader([out / 'drive.mcap']) as reader:
        chosen = [c for c in reader.connections if c.topic == '/drivable_area']
        ((connection, _, data),) = reader.messages(chosen)
        message: Any = reader.deserialize(data, connection.msgtype)
    assert (message.vehicle_frame, message.header.frame_id) == ('chassis', 'front_optical')


def test_the_recording_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / 'bag')
    (bag / 'bag.mcap').rename(tmp_path / 'drive.mcap')
    before = (tmp_path / 'drive.mcap').read_bytes()
    command = ['segment', str(tmp_path / 'drive.mcap'), '--out', str(tmp_path)]
    assert cli.main([*command, '--engine', 'fake']) == 2
    assert 'overwritten by its own results; name another' in capsys.readouterr().err
    assert (tmp_path / 'drive.mcap').read_bytes() == before


def test_a_described_camera_gives_the_drivable_area(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    out = tmp_path / 'out'
    camera = ['--height', '1.4', '--pitch', '3', '--hfov', '60']
    assert cli.main(['segment', str(clip), '--out', str(out), '--engine', 'fake', *camera]) == 0
    assert calibrated(out) == [True, True]


def test_a_calibration_of_the_bag_goes_before_what_is_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / 'bag')
    outs = [tmp_path / 'own', tmp_path / 'described']
    for out, more in zip(outs, ([], ['--hfov', '20']), strict=True):
        assert cli.main(['segment', str(bag), '--out', str(out), '--engine', 'fake', *more]) == 0
    assert '--hfov 20 is not used: the recording has its own' in capsys.readouterr().err
    own, described = ((out / 'drivable.jsonl').read_text() for out in outs)
    assert own == described


def test_broken_frames_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    (clip / 'frame1.png').write_bytes(b'')
    out = str(tmp_path / 'out')
    assert cli.main(['segment', str(clip), '--out', out, '--engine', 'fake']) == 0
    captured = capsys.readouterr()
    assert 'frame1.png' in captured.err
    assert '1 broken' in captured.out


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([], 'no recording is given'),
        (['street:x'], 'is named street:'),
        (['street::1', '--model', '/no/model.onnx'], 'no model file /no/model.onnx'),
        (['street::1', '--engine', 'fake', '--precision', 'int8'], "has no precision 'int8'"),
        (['street::1', '--engine', 'fake', '--classes', 'mars'], "no class map 'mars'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(['segment', *arguments, '--out', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count('\n') == 1


def test_label_ids_are_refused_before_they_are_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = painted.write_folders(tmp_path, 1)
    rec.write_png(labels / 'frame0000.png', painted.truth(0) + np.uint8(15))
    command = ['segment', str(images), '--labels', str(labels), '--engine', 'fake']
    assert cli.main([*command, '--out', str(tmp_path / 'out')]) == 2
    assert 'give --label-ids cityscapes' in capsys.readouterr().err


def test_of_many_faults_some_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 26)
    for number in range(25):
        (clip / f'frame{number}.png').write_bytes(b'no picture')
    out = str(tmp_path / 'out')
    assert cli.main(['segment', str(clip), '--out', out, '--engine', 'fake']) == 0
    captured = capsys.readouterr()
    assert '1 in, 1 segmented, 0 dropped, 25 broken' in captured.out
    assert len([line for line in captured.err.splitlines() if '.png' in line]) == 20
    assert captured.err.endswith('5 more frames had a fault\n')
