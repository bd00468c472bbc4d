"""Shipped files, and tools that only a checkout has."""

from __future__ import annotations

import sys

import pytest

from segformer_ros.cli.main import main
from segformer_ros.resources import NotInstalledError, share_path, tool
from segformer_ros.sources import SourceError, open_source


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
def test_an_installation_says_what_the_family_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['benchmark', '--family', '--seconds', '0']) == 2
    assert 'tools.family, which is not installed' in capsys.readouterr().err
