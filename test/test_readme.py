# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The README tells the truth: its files, verbs, parameters and topics are there."""

from __future__ import annotations

import configparser
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import painted
import pytest

from segformer_ros.cli import main as cli
from segformer_ros.node.drivable_settings import MountSettings
from segformer_ros.node.parameter import Parameter, parameters_of
from segformer_ros.node.segmentation.parameters import Settings, mount_prefix


@pytest.fixture(scope='module')
def readme() -> str:
    """Text of the README."""
    return (Path(__file__).parents[1] / 'README.md').read_text(encoding='utf-8')


def table(readme: str, heading: str) -> list[list[str]]:
    """Cells of the first table after a heading, without its own head."""
    lines = readme.split(f'\n{heading}\n')[1].splitlines()
    rows = [line.strip('|').split('|') for line in lines if line.startswith('|')]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_links_lead_somewhere(readme: str, repo: Path) -> None:
    targets = re.findall(r'\]\(([^)#]+)\)', readme)
    assert len(targets) > 8
    assert [target for target in targets if not (repo / target).exists()] == []


def test_anchors_are_headings(readme: str) -> None:
    headings = re.findall(r'^#+ (.+)$', readme, re.MULTILINE)
    anchors = {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings}
    assert set(re.findall(r'\]\(#([^)]+)\)', readme)) <= anchors


def test_parameters_have_the_named_defaults(readme: str) -> None:
    known: dict[str, Parameter] = {
        entry.name: entry
        for entry in (*parameters_of(Settings), *parameters_of(MountSettings, mount_prefix('')))
    }
    rows = table(readme, '### Parameters')[:9]
    assert len(rows) == 9
    for name, default, _ in rows:
        assert default.strip('`') == repr(known[name.strip('`')].default)
    mentioned = set(re.findall(r'`((?:drivable|mount)\.[a-z_]+)`', readme))
    assert mentioned <= set(known)


def test_verbs_are_there_and_all_are_named(readme: str) -> None:
    named = set(re.findall(r'segformer ([a-z]+)', readme))
    assert named == set(cli.VERBS)


def test_extras_are_those_of_the_package(repo: Path) -> None:
    metadata = configparser.ConfigParser()
    metadata.read(repo / 'setup.cfg')
    pages = [repo / 'README.md', *sorted((repo / 'doc').glob('*.md'))]
    extra = re.compile(r"(?:segformer_ros|\.)\[([a-z0-9-]+)\]'")
    found = [extra.findall(page.read_text()) for page in pages]
    named = {extra for extras in found for extra in extras}
    assert {'ray', 'tensorrt', 'tensorrt-cu12'} <= named <= set(metadata['options.extras_require'])


def test_no_path_of_a_machine_is_named(readme: str) -> None:
    assert re.findall(r'(?:\.\./shared|/root/|/tmp/|/home/|/work/)', readme) == []


def test_the_python_program_runs(
    readme: str, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = readme.split('### From Python')[1].split('```python\n')[1].split('```')[0]
    shutil.copy(repo / 'models/segformer_street.onnx', tmp_path / 'model.onnx')
    cv2.imwrite(str(tmp_path / 'street.jpg'), np.full((1080, 1920, 3), 127, np.uint8))
    painted.write_bag(tmp_path / 'drive.mcap', 2)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program, names)
    assert names['result'].key == '1700000000_100000000'
