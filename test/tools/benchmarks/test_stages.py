# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The stage benchmark: its table, and one short run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

stages = pytest.importorskip('tools.benchmarks.stages', reason='ROS is not installed')


def test_price_is_of_the_same_round() -> None:
    times = {name: [1.0, 2.0, 1.0] for name in ('inference', *stages.PRICE)}
    table, price = stages.report({stages.BARE: [100.0, 200.0, 50.0], **times})
    assert price == pytest.approx(5.0)
    assert table.splitlines()[-1].split() == ['all', 'but', 'inference', '5.00', '5.00', '5.0']


@pytest.mark.ros
def test_it_runs(repo: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [
            sys.executable,
            '-m',
            'tools.benchmarks.stages',
            '--rounds',
            '1',
            '--model',
            'mit-b0',
            '--input',
            '128x64',
            '--size',
            '320x180',
            '--json',
            str(tmp_path / 'b.json'),
        ],
        cwd=repo,
        env={**os.environ, 'XDG_CACHE_HOME': str(tmp_path)},
        text=True,
        stdout=subprocess.PIPE,
        timeout=240,
        check=True,
    )
    assert 'bare inference' in result.stdout
    assert 'all but inference: ' in result.stdout
    assert (tmp_path / 'b.json').is_file()
