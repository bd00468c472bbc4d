# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer verify, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segformer_ros.cli import verify
from segformer_ros.cli.checks import Finding, Health
from segformer_ros.cli.main import main
from segformer_ros.engines import EngineError
from segformer_ros.verification.checklist import CheckFigure, NotApplicable, Step


def inapplicable() -> CheckFigure:
    raise NotApplicable('no GPU')


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """The checks that are made, on a machine without a GPU."""
    steps = [
        Step('kernels', 'compiled', lambda: CheckFigure('13 GPUs')),
        Step('fp16', 'speed', inapplicable),
    ]

    def none(index: int) -> None:
        raise EngineError(f'no NVIDIA driver on this machine, asked for {index}')

    def all_steps(plan: Any, gpu: Any, lack: str, *rest: Any) -> list[Step]:
        assert plan.batches == [1, 2] and gpu is None and lack == 'no GPU'
        return steps

    monkeypatch.setattr(verify, 'all_steps', all_steps)
    monkeypatch.setattr(verify, 'select_gpu', none)
    for name in ('machine', 'software'):
        monkeypatch.setattr(verify, f'examine_{name}', lambda: [])
    finding = Finding('GPU', 'PyCUDA', Health.ABSENT, 'not installed')
    monkeypatch.setattr(verify, 'examine_gpu', lambda: [finding])
    return steps


def test_without_a_gpu_the_rest_is_checked_and_it_says_so(
    given: list[Step], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['verify', '--out', str(tmp_path / 'new'), '--batch', '1,2']) == 0
    printed = capsys.readouterr()
    assert '1 pass, 0 fail, 2 not applicable' in printed.out
    assert 'Without a GPU: what is left was checked.' in printed.out
    assert '3/3' in printed.err and '2/2' not in printed.err  # as many as the verdicts
    reason = 'Reason: no NVIDIA driver on this machine, asked for 0\n'
    assert f'Run it again on the machine with the GPU. {reason}' in printed.out
    text = (tmp_path / 'new' / 'verify.md').read_text()
    assert '| GPU | PyCUDA | not applicable | not installed |' in text
    assert 'no NVIDIA driver on this machine, asked for 0' in text
    data = json.loads((tmp_path / 'new' / 'verify.json').read_text())
    assert [check['verdict'] for check in data['checks']] == [
        'not applicable', 'pass', 'not applicable'
    ]  # fmt: skip


def test_a_gpu_without_tensorrt_is_a_failure(
    given: list[Step], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        Finding('GPU', 'TensorRT', Health.WARNING, 'not installed', 'pip install tensorrt'),
        Finding('machine', 'memory', Health.WARNING, 'little'),
    ]
    monkeypatch.setattr(verify, 'examine_gpu', lambda: found)
    assert main(['verify', '--out', str(tmp_path), '--batch', '1,2']) == 1
    text = (tmp_path / 'verify.md').read_text()
    assert '| GPU | TensorRT | fail | not installed; pip install tensorrt |' in text
    assert '| machine | memory | pass | warning: little |' in text
    # Which the kernels alone do not need.
    assert main(['verify', '--kernels', '--out', str(tmp_path), '--batch', '1,2']) == 0
    assert '| GPU | TensorRT | not applicable |' in (tmp_path / 'verify.md').read_text()


def test_a_failure_is_the_exit_code(
    given: list[Step], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given.append(Step('fp16', 'graph', lambda: CheckFigure('2 masks differ', False)))
    asked = ['verify', '--out', str(tmp_path), '--batch', '1,2']
    assert main(asked) == 1
    assert '| fp16 | graph | fail | 2 masks differ |' in (tmp_path / 'verify.md').read_text()
    assert main([*asked, '--kernels']) == 0
    assert 'fp16' not in (tmp_path / 'verify.md').read_text()


HIDDEN = """
import sys
import numpy
from segformer_ros.cli.main import main
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('av', 'jinja2', 'mcap', 'onnx', 'openvino', 'rosbags'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Hidden())
sys.exit(main(['verify', '--kernels', '--out', sys.argv[1]]))
"""


def test_the_kernels_need_no_recordings_and_no_models(repo: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, '-c', HIDDEN, str(tmp_path)], cwd=repo, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / 'verify.json').read_text())
    assert report['complete'] and report['counts']['fail'] == 0
    assert {'kernels', 'machine'} <= {check['part'] for check in report['checks']}
    assert 'software' not in {check['part'] for check in report['checks']}


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        (['--precisions', 'fp8'], "'fp8' is not a list of fp32, fp16, int8"),
        (['--device', '1'], 'no NVIDIA driver on this machine, asked for 1'),
        (['--batch', '17'], 'whole numbers from 1 to 16'),
    ],
)
def test_what_is_wrong_is_one_line(
    given: list[Step],
    option: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ['verify', '--out', str(tmp_path), *option]
    if option[0] == '--device':
        assert main(asked) == 2
    else:
        with pytest.raises(SystemExit, match='^2$'):
            main(asked)
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
