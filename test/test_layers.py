# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The layers of the package, as CONTRIBUTING.md lists them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = 'segformer_ros'


@pytest.fixture(scope='module')
def layers(repo: Path) -> dict[str, int]:
    """Layer of each package and module in the root, 0 for the lowest."""
    text = (repo / 'CONTRIBUTING.md').read_text()
    block = re.search(r'^(?:    [a-z].*\n)+', text.split('## Where things go')[1], re.MULTILINE)
    assert block
    names = [layer.replace(',', ' ').split() for layer in block.group().split('>')]
    return {name: layer for layer, group in enumerate(names) for name in group}


def owner(path: Path, root: Path) -> str:
    """The package or module in the root that a file belongs to."""
    return path.relative_to(root).parts[0].removesuffix('.py')


def imported(path: Path) -> Iterator[str]:
    """Packages and modules in the root of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path} imports relatively'
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        for name in names:
            package, *rest = name.split('.')
            if package == PACKAGE:
                yield rest[0]


def test_the_list_has_the_whole_package(repo: Path, layers: dict[str, int]) -> None:
    root = repo / PACKAGE
    assert set(layers) == {owner(path, root) for path in root.rglob('*.py')} - {'__init__'}


def test_nothing_imports_from_above(repo: Path, layers: dict[str, int]) -> None:
    root = repo / PACKAGE
    above = {
        f'{path.relative_to(root)} imports {name}'
        for path in root.rglob('*.py')
        for name in imported(path)
        if name in layers
        and path != root / '__init__.py'  # the face loads what is asked for, from any layer
        and layers[name] > layers.get(owner(path, root), 0)
    }
    assert above == set()


def test_the_package_stands_without_the_tools(repo: Path) -> None:
    for path in (repo / PACKAGE).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            assert not [name for name in names if name.split('.')[0] == 'tools'], path
