# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How Sphinx builds the API reference: `./run docs`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import segformer_ros

project = 'segformer_ros'
author = 'segformer_ros maintainers'
copyright = 'segformer_ros maintainers'
release = version = segformer_ros.__version__

extensions = ['sphinx.ext.autodoc']
html_theme = 'alabaster'
html_title = f'segformer_ros {release}'
html_theme_options = {'description': 'Street segmentation for ROS 2', 'page_width': '70em'}
html_sidebars = {'**': ['about.html', 'localtoc.html', 'searchbox.html']}
html_show_sourcelink = False

default_role = 'code'
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
autodoc_typehints_format = 'short'
autodoc_type_aliases = {
    'Image': 'Image',
    'Images': 'Images',
    'OnFault': 'OnFault',
    'Location': 'Location',
}
autodoc_default_options = {'members': True}

_ITEM = re.compile(r'([a-z_]+(?:, [a-z_]+)*): (?=\S)')
"""Beginning of a line that describes a parameter or a field, or several."""


def as_list(lines: list[str]) -> list[str]:
    """Docstrings describe parameters and fields as `name: text`, which becomes a list."""
    result: list[str] = []
    inside = False
    for line in lines:
        found = _ITEM.match(line)
        if found:
            if not inside:
                result.append('')
            inside = True
            result.append(f'* **{found.group(1)}**: {line[found.end() :]}')
        elif inside and line.startswith('Raises '):
            inside = False
            result += ['', line]
        elif inside and line.strip():
            result.append(f'  {line.strip()}')
        else:
            inside = False
            result.append(line)
    return result


def _process(app: Any, what: str, name: str, target: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_list(lines)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect('autodoc-process-docstring', _process)
    assert Path(segformer_ros.__file__).parents[1] == Path(__file__).parents[2]
