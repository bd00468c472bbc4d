# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The command line as a whole."""

from __future__ import annotations

from importlib import import_module

import pytest

from segformer_ros.cli.main import VERBS, main


@pytest.mark.parametrize('verb', VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, '--help'])
    assert ended.value.code == 0
    summary = import_module(f'segformer_ros.cli.{verb}').SUMMARY
    words = ' '.join(capsys.readouterr().out.split())
    assert summary[1:] in words
    assert '--debug' in words


def test_the_verbs_that_the_readme_names_are_there() -> None:
    assert {'doctor', 'evaluate', 'inspect', 'segment'} <= set(VERBS)


def test_help_lists_all_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['--help'])
    listing = capsys.readouterr().out
    assert all(verb in listing for verb in VERBS)


def test_an_unknown_verb_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['segmnt'])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "invalid choice: 'segmnt'" in line
    assert line.endswith('; see segformer --help')


def test_an_error_is_one_line_and_a_traceback_on_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(['segment', '/no/where']) == 2
    assert (
        capsys.readouterr().err
        == 'segformer segment: no such recording: /no/where; check the path\n'
    )
    with pytest.raises(ValueError, match='no such recording'):
        main(['segment', '/no/where', '--debug'])
