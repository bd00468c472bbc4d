# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Shipped files, and tools that only a checkout has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from segformer_ros.cli.main import main
from segformer_ros.recordings import SourceError, open_source
from segformer_ros.resources import NotInstalledError, share_path, tool


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an installation, which has no `tools`."""
    for name in [name for name in sys.modules if name.split('.')[0] == 'tools']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'tools', None)


def test_a_missing_file_names_the_places() -> None:
    with pytest.raises(FileNotFoundError, match=r"no file 'config/none.yaml' in .*; reinstall"):
        share_path('config/none.yaml')


def test_a_tool_of_the_checkout_is_imported() -> None:
    assert 'mit-b0' in tool('family', 'the published SegFormers').FAMILY


def test_a_package_that_a_tool_lacks_is_named_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, 'tools.street.source', raising=False)
    monkeypatch.setitem(sys.modules, 'tools.street.drives', None)
    with pytest.raises((ModuleNotFoundError, NotInstalledError), match=r'tools\.street\.drives'):
        tool('street.source', 'generated drives')


@pytest.mark.usefixtures('installed')
def test_an_installation_says_what_generated_drives_need() -> None:
    with pytest.raises(SourceError, match=r'street:3:6: generated drives .* clone its repository'):
        open_source('street:3:6')


@pytest.mark.usefixtures('installed')
def test_an_installation_measures_on_the_drive_that_is_shipped(tmp_path: Path) -> None:
    table = tmp_path / 'speed.json'
    speed = ['benchmark', '--engine', 'fake', '--seconds', '0.1', '--frame-size', '64x36']
    assert main([*speed, '--format', 'json', '--out', str(table)]) == 0
    assert table.exists()


def test_a_broken_installation_says_that_the_drive_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('segformer_ros.recordings.SAMPLE_BAG', 'samples/none')
    with pytest.raises(SourceError, match=r"sample: .*no file 'samples/none' .*reinstall"):
        open_source('sample:')


@pytest.mark.usefixtures('installed')
def test_an_installation_says_what_the_family_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['benchmark', '--family', '--seconds', '0']) == 2
    assert 'tools.family, which is not installed' in capsys.readouterr().err
