# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The report: a line for each check, and what becomes of errors and of a process that dies."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from time import sleep

import pytest

from segformer_ros.engines import EngineError
from segformer_ros.verification.checklist import (
    CheckFigure,
    Checklist,
    NotApplicable,
    Step,
    Verdict,
    anonymous,
)


def raising(error: BaseException) -> Step:
    def run() -> CheckFigure:
        raise error

    return Step('part', type(error).__name__, run)


def make(folder: Path, *steps: Step) -> Checklist:
    checklist = Checklist()
    checklist.make(steps, folder, lambda step: None)
    return checklist


def test_each_check_is_a_line_with_its_verdict_and_figure(tmp_path: Path) -> None:
    def good() -> CheckFigure:
        sleep(0.05)
        return CheckFigure('3 of 3', True, 3, 'pieces')

    steps = [
        Step('part', 'good', good),
        Step('part', 'bad', lambda: CheckFigure('1 | 3', False)),
        raising(NotApplicable('no such thing here')),
        raising(EngineError('out of memory')),
        raising(KeyError('shape')),
    ]
    checklist = make(tmp_path, *steps)
    verdicts = [check.verdict for check in checklist.checks]
    assert verdicts == [
        Verdict.PASS, Verdict.FAIL, Verdict.NOT_APPLICABLE, Verdict.FAIL, Verdict.FAIL
    ]  # fmt: skip
    text = (tmp_path / 'verify.md').read_text()
    assert (
        '**1 pass, 3 fail, 1 not applicable.** It took 0 s.' in text and 'Not complete' not in text
    )
    assert '| part | bad | fail | 1 / 3 |' in text
    assert '| part | NotApplicable | not applicable | no such thing here |' in text
    assert "| part | KeyError | fail | KeyError: 'shape' |" in text
    data = json.loads((tmp_path / 'verify.json').read_text())
    assert data['complete'] and data['counts'] == {'pass': 1, 'fail': 3, 'not applicable': 1}
    seconds = [check.pop('seconds') for check in data['checks']]
    assert seconds[0] >= 0.05 and min(seconds) >= 0 and 0 < data['seconds'] < 60
    assert data['checks'][0] == {
        'part': 'part', 'name': 'good', 'verdict': 'pass', 'figure': '3 of 3', 'value': 3,
        'unit': 'pieces',
    }  # fmt: skip


def test_what_ends_the_process_stands_in_the_report(tmp_path: Path) -> None:
    good = Step('part', 'good', lambda: CheckFigure('fine'))
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, good, raising(KeyboardInterrupt()))
    text = (tmp_path / 'verify.md').read_text()
    assert '**1 pass, 0 fail, 0 not applicable.**' in text
    assert 'Not complete: it ended during "part: KeyboardInterrupt".' in text
    data = json.loads((tmp_path / 'verify.json').read_text())
    assert not data['complete'] and data['running'] == 'part: KeyboardInterrupt'


def test_nobody_s_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, 'node', lambda: 'robot7')
    monkeypatch.setattr(Path, 'home', lambda: Path('/home/ann'))
    step = Step('part', 'place', lambda: CheckFigure('/home/ann/cache on robot7, not robot77'))
    make(tmp_path, step)
    for name in ('verify.md', 'verify.json'):
        text = (tmp_path / name).read_text()
        assert '~/cache on HOST, not robot77' in text
    assert anonymous('robot7-a and robot7.') == 'robot7-a and HOST.'
