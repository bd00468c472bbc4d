# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The drive that is shipped: what it holds, and that it is the one its script makes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from segformer_ros.cli.main import main
from segformer_ros.recordings import SAMPLE, SAMPLE_BAG, SourceOptions, open_source
from tools import sample_drive

MOST_BYTES = 6_000_000


@pytest.mark.parametrize('index', [0, sample_drive.FRAMES - 1])
def test_it_is_the_drive_that_the_script_makes(index: int) -> None:
    drive, source = sample_drive.sample_drive(), open_source(SAMPLE)
    assert len(source) == len(drive)
    (entry,), made = source.frames(index, index + 1), drive[index]
    assert entry.frame is not None and entry.labels is not None
    assert (entry.labels == made.labels).mean() > 0.999  # of other processors, to a rounding
    assert np.abs(entry.frame.bgr().astype(int) - made.image).mean() < 6
    assert source.calibration is not None
    assert source.calibration.fx == pytest.approx(drive.calibration.fx)
    assert source.pose is not None
    assert source.pose.height == pytest.approx(drive.pose.height)
    assert source.pose.pitch == pytest.approx(drive.pose.pitch)


def test_it_is_small_enough_to_be_installed(repo: Path) -> None:
    assert (repo / SAMPLE_BAG).stat().st_size < MOST_BYTES


def test_its_bytes_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_drive, 'FRAMES', 2)
    for folder in 'ab':
        (tmp_path / folder).mkdir()
        sample_drive.write_sample(tmp_path / folder / 'drive.mcap')
    one, other = (tmp_path / folder / 'drive.mcap' for folder in 'ab')
    assert one.read_bytes() == other.read_bytes()


def test_every_frame_has_its_labels() -> None:
    entries = list(open_source(SAMPLE))
    assert [entry.error for entry in entries] == [None] * sample_drive.FRAMES
    assert all(entry.labels is not None for entry in entries)


def test_labels_of_one_s_own_take_the_place_of_its_own(tmp_path: Path) -> None:
    wanted = {'1_000000000': 7, '1_100000000': 8}
    for key, label in wanted.items():
        cv2.imwrite(str(tmp_path / f'{key}.png'), np.full((360, 640), label, np.uint8))
    found = list(open_source(SAMPLE, SourceOptions(labels=tmp_path)).frames(0, 2))
    labels = {entry.key: entry.labels for entry in found}
    assert {key: int(np.max(np.asarray(each))) for key, each in labels.items()} == wanted


def test_it_is_segmented_with_metres_and_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ['segment', SAMPLE, '--out', str(tmp_path / 'out'), '--engine', 'fake']
    assert main(command) == 0, capsys.readouterr().err
    lines = (tmp_path / 'out/drivable.jsonl').read_text().splitlines()
    assert all(json.loads(line)['calibrated'] for line in lines)
    summary = json.loads((tmp_path / 'out/summary.json').read_text())
    assert (len(lines), summary['frames_scored']) == (sample_drive.FRAMES, sample_drive.FRAMES)
