# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The images' files: nothing here builds them, but what they name must be there."""

from __future__ import annotations

import configparser
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCKERFILES = ('Dockerfile.jetson', 'Dockerfile.x86')
DOCKER_PATHS = tuple(f'docker/{name}' for name in DOCKERFILES)
# Keys of rosdep that pip installs, which Ubuntu 24.04 refuses outside of an environment.
BY_PIP = re.compile('-pip$')
# Where nothing is shown, RViz and its hundreds of megabytes are left out.
NO_SCREEN = {'rviz2'}


@pytest.fixture(params=DOCKERFILES)
def dockerfile(repo: Path, request: pytest.FixtureRequest) -> str:
    text = (repo / 'docker' / request.param).read_text()
    return text.replace('\\\n', ' ')


def words(dockerfile: str, instruction: str) -> list[str]:
    return re.findall(rf'^{instruction} (.+)$', dockerfile, re.MULTILINE)


def test_all_are_tested(repo: Path) -> None:
    assert sorted(path.name for path in (repo / 'docker').iterdir()) == list(DOCKERFILES)


def test_what_is_copied_is_there(repo: Path, dockerfile: str) -> None:
    (copied,) = words(dockerfile, 'COPY')
    *sources, target = copied.split()
    assert all((repo / source).exists() for source in sources)
    (installed,) = re.findall(r"'\./([\w/]+)\[[\w-]+\]'", dockerfile)
    assert installed == target and f'{target.split("/")[0]} --ignore-src' in dockerfile


def test_the_extra_that_is_installed_is_one(repo: Path, dockerfile: str) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(repo / 'setup.cfg')
    (extra,) = re.findall(r'\[([\w-]+)\]\'', dockerfile)
    assert extra in parser['options.extras_require']


def test_what_rosdep_leaves_out_is_brought_by_pip(repo: Path, dockerfile: str) -> None:
    manifest = ElementTree.parse(repo / 'package.xml').getroot()
    declared = {str(node.text) for node in manifest if node.tag.endswith('depend')}
    (skipped,) = re.findall(r"--skip-keys '([^']+)'", dockerfile)
    assert set(skipped.split()) == NO_SCREEN | set(filter(BY_PIP.search, declared))
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(repo / 'setup.cfg')
    bounds = parser['options']['install_requires']
    for key in set(skipped.split()) - NO_SCREEN:
        name = key[len('python3-') : -len('-pip')]
        assert re.search(rf'^{name}[<>=]', bounds, re.MULTILINE), f'{name} is in no requirement'


@pytest.mark.parametrize(
    'path', ['README.md', 'doc/jetson.md', '.github/workflows/test.yml', *DOCKER_PATHS]
)
def test_pip_is_not_called_by_rosdep(repo: Path, path: str) -> None:
    """It calls it outside of an environment; what is skipped is in one of the pip lines."""
    text = (repo / path).read_text().replace('\\\n', ' ')
    manifest = ElementTree.parse(repo / 'package.xml').getroot()
    keys = {str(node.text) for node in manifest if BY_PIP.search(str(node.text))}
    (line,) = re.findall(r'rosdep install .*', text)
    (skipped,) = re.findall(r"--skip-keys '([^']+)'", line)
    assert set(skipped.split()) - NO_SCREEN == keys
    installed = [line for line in re.findall(r'\bpip install (.*)', text) if 'numpy<2' in line]
    names = {key[len('python3-') : -len('-pip')] for key in keys}
    for line in installed:  # the whole package brings what setup.cfg names
        assert '/segformer_ros[' in line or names <= set(line.split())
    assert installed


def test_the_program_starts_in_the_workspace_of_one_ros(repo: Path, dockerfile: str) -> None:
    assert len(set(re.findall(r'/opt/ros/(\w+)/', dockerfile))) == 1
    (folder,) = words(dockerfile, 'WORKDIR')
    assert f'. {folder}/install/setup.bash' in dockerfile
    (started,) = words(dockerfile, 'CMD')
    package, launch_file = re.findall(r'"([\w.]+)"', started)[-2:]
    assert package == repo_name(repo) and (repo / 'launch' / launch_file).exists()


def repo_name(repo: Path) -> str:
    return str(ElementTree.parse(repo / 'package.xml').getroot().findtext('name'))


def test_what_git_ignores_is_not_copied(repo: Path) -> None:
    """Environments of gigabytes, results of runs, and what another Python has compiled."""
    lines = (repo / '.dockerignore').read_text().splitlines()
    ignored = {line for line in lines if line and not line.startswith('#')}
    wanted = {'.git'}
    for line in (repo / '.gitignore').read_text().splitlines():
        if line and not line.startswith('#'):
            rooted = line.startswith('/')
            wanted.add(('' if rooted else '**/') + line.strip('/'))
    assert wanted - ignored == set()


def test_what_git_has_is_copied(repo: Path) -> None:
    done = subprocess.run(
        ['git', 'ls-files'], cwd=repo, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f'git lists no files: {done.stderr.strip()}')
    names = done.stdout.splitlines()
    assert 'package.xml' in names
    lines = (repo / '.dockerignore').read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith('#')]
    lost = [
        name
        for name in names
        for pattern in patterns
        if any(
            fnmatch(str(part), pattern.replace('**/', '*'))
            for part in (Path(name), *Path(name).parents[:-1])
        )
    ]
    assert lost == []


def test_they_say_that_nobody_has_built_them(repo: Path, dockerfile: str) -> None:
    assert 'Built nowhere yet: see doc/jetson.md' in dockerfile
    assert '**built nowhere yet**' in (repo / 'doc/jetson.md').read_text()
