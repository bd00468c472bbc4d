# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer evaluate, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import painted
import pytest

from segformer_ros.cli import main as cli
from segformer_ros.evaluation.shards import ShardResult

FILES = [
    'confusion.npy', 'frames.csv', 'metrics.json', 'report.html', 'speed.json', 'timings.csv',
]  # fmt: skip


def evaluate(root: Path, *more: str, frames: int = 4) -> int:
    """Evaluate the fake engine on a few painted frames."""
    images, labels = painted.write_folders(root, frames)
    out = str(root / 'out')
    arguments = [str(images), '--labels', str(labels), '--out', out, '--engine', 'fake', *more]
    return cli.main(['evaluate', *arguments])


def metrics_of(root: Path) -> dict[str, Any]:
    """What metrics.json holds."""
    return dict(json.loads((root / 'out/metrics.json').read_text()))


def test_results_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path) == 0
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == FILES
    metrics = metrics_of(tmp_path)
    assert metrics['frames']['scored'] == 4
    output = capsys.readouterr().out
    assert f'{metrics["miou"]:.4f}' in output
    assert 'frames scored           4 of 4' in output
    assert f'report: {tmp_path}/out/report.html' in output


def test_merged_classes_and_a_chosen_drivable_group(tmp_path: Path) -> None:
    assert evaluate(tmp_path, '--merge', 'rider,bicycle', '--drivable', 'road+sidewalk') == 0
    metrics = metrics_of(tmp_path)
    assert 'rider+bicycle' in metrics['iou']
    assert metrics['drivable']['group'] == 'road+sidewalk'


def test_a_described_camera_gives_metres(tmp_path: Path) -> None:
    assert evaluate(tmp_path, '--height', '1.4', '--pitch', '3', '--hfov', '60') == 0
    metres = metrics_of(tmp_path)['drivable']['metres']
    assert sum(band['columns'] for band in metres['bands']) > 0
    assert 'prediction from above' in (tmp_path / 'out/report.html').read_text()


def test_masks_and_annotated_bag(tmp_path: Path) -> None:
    assert evaluate(tmp_path, '--write-mcap') == 0
    assert (tmp_path / 'out/annotated.mcap').stat().st_size > 1000
    assert len(list((tmp_path / 'out/predictions/images').glob('frame*.png'))) == 4


def test_gates_decide_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path, '--fail-under', 'miou=0.1,false_free=0.9') == 0
    baseline = tmp_path / 'baseline.json'
    metrics = {**metrics_of(tmp_path), 'miou': 0.99}
    baseline.write_text(json.dumps(metrics))
    capsys.readouterr()
    gates = ['--fail-under', 'iou.road=1,miou=0.1', '--max-drop', 'miou=0.005,iou.road=0.5']
    assert evaluate(tmp_path, *gates, '--baseline', str(baseline)) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if 'gate' in line]
    assert len(lines) == 2
    assert lines[0].startswith('gate broken: iou.road is 0.')
    assert lines[1].startswith('gate broken: miou went from 0.9900 to 0.')
    assert 'Broken gates' in (tmp_path / 'out/report.html').read_text()


def test_a_baseline_of_other_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its gates are refused before the frames are run; without gates it is said."""
    assert evaluate(tmp_path) == 0
    baseline = tmp_path / 'baseline.json'
    (tmp_path / 'out/metrics.json').rename(baseline)
    more = ['--merge', 'rider,bicycle', '--baseline', str(baseline)]
    assert evaluate(tmp_path, *more, '--max-drop', 'iou.rider+bicycle=0.1') == 2
    assert not (tmp_path / 'out/metrics.json').exists()
    error = capsys.readouterr().err
    assert "the baseline has no score 'iou.rider+bicycle'" in error
    assert evaluate(tmp_path, *more, '--max-drop', 'miou=0.1') == 0
    assert 'the baseline scores other classes (19, here 18;' in capsys.readouterr().err
    assert 'the baseline scores other classes' in (tmp_path / 'out/report.html').read_text()


def test_an_interrupted_run_says_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    to_bytes = ShardResult.to_bytes
    saved: list[int] = []

    def interrupt(result: ShardResult) -> bytes:
        if saved:
            raise KeyboardInterrupt
        saved.append(result.number)
        return to_bytes(result)

    monkeypatch.setattr(ShardResult, 'to_bytes', interrupt)
    assert evaluate(tmp_path, frames=70) == 130
    error = capsys.readouterr().err
    assert f'64 of 70 frames are saved in {tmp_path}/out (64 at a time)' in error
    assert 'the same command continues from there' in error


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--fail-under', 'miou'], "gate 'miou' is not NAME=NUMBER"),
        (['--fail-under', 'mIoU=0.5'], "no score 'mIoU'"),
        (['--fail-under', 'false_free=1'], 'give 0.01 for 1 %'),
        (['--fail-under', 'class_flicker.raod=0.1'], 'did you mean class_flicker.road?'),
        (['--fail-under', 'drivable.metres.bands.5-11.columns=1'], 'drivable.metres.bands.5-10.c'),
        (['--max-drop', 'miou=0.1'], '--max-drop needs --baseline'),
        (['--baseline', '/no/metrics.json'], '/no/metrics.json cannot be read: no such file'),
        (['--merge', 'rider,tram'], "no class 'tram'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path, *arguments, frames=1) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('segformer evaluate: ')
    assert words in error
