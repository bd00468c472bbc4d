# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer benchmark: a model or the published family, as a table."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import cv2
import pytest

from segformer_ros.cli.main import main
from tiny_models import painting, save_network


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """A command that takes no time."""
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / '0.png'), painting(48, 64)[0])
    options = ['--input', str(tmp_path / 'images'), '--frame-size', '64x48', '--seconds', '0.05']
    return ['benchmark', *options]


def test_the_command_writes_a_table(asked: list[str], tmp_path: Path) -> None:
    model, out = save_network(tmp_path / 'palette.onnx'), tmp_path / 'new' / 'table.md'
    asked += ['--model', str(model), '--engine', 'openvino']
    asked += ['--batch', '1,2', '--format', 'markdown']
    assert main([*asked, '--out', str(out)]) == 0
    assert out.read_text().count('\n| ') == 3  # a header and two batch sizes


def test_the_table_is_printed_where_it_cannot_be_written(
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    out = tmp_path / 'table.txt'
    monkeypatch.setattr(os, 'replace', full)
    assert main([*asked, '--engine', 'fake', '--out', str(out)]) == 2
    printed = capsys.readouterr()
    assert 'engine: fake' in printed.out and not out.exists()
    assert f'cannot write {out}' in printed.err and 'the disk is full' in printed.err


def test_the_family_is_timed_with_its_size_and_work(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked += ['--family', 'mit-b0', '--sizes', '32', '--engine', 'openvino']
    assert main([*asked, '--format', 'json']) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row['model'] == 'mit-b0' and row['input'] == '32x32'
    assert row['M parameters'] == pytest.approx(3.7, abs=0.2)
    assert row['fps'] > 0 and row['engine'] == 'openvino'
    assert row['call']['p99'] >= row['call']['p50'] >= row['stages']['inference']['p50']


def test_the_family_s_cost_alone_needs_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ['benchmark', '--family', 'fan-base,mit-b5', '--sizes', '1024', '--seconds', '0']
    assert main([*asked, '--format', 'markdown']) == 0
    assert capsys.readouterr().out.splitlines() == [
        '| model | input | M parameters | GMACs |',
        '|---|---|---|---|',
        '| fan-base | 1024x1024 | 48.5 | 639.5 |',
        '| mit-b5 | 1024x1024 | 84.6 | 561.0 |',
        '',
    ]


@pytest.mark.parametrize(
    ('option', 'value', 'words'),
    [
        ('--family', 'mit-b9', "no member 'mit-b9' in the family"),
        ('--device', '63', 'no NVIDIA driver|no GPU 63'),
    ],
)
def test_wrong_arguments_are_one_line(
    asked: list[str], option: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ['--engine', 'tensorrt'] if option == '--device' else []
    assert main([*asked, option, value, *engine]) == 2
    assert re.search(words, capsys.readouterr().err)
