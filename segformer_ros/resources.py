# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What comes with the package: class maps, models, kernels; in a checkout, the tools beside it."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Iterator

from segformer_ros.errors import SegformerError

PACKAGE = 'segformer_ros'
TOOLS = 'tools'


class NotInstalledError(SegformerError, RuntimeError):
    """A tool that a checkout has and an installation has not: says which."""


def share_path(relative: str) -> Path:
    """Path of a shipped file or folder, given as in the source tree ('config/segment.yaml').

    Looked for in the source tree, then in the share folders of the sourced ROS workspaces, then
    in this Python's own. Raises FileNotFoundError naming the places.
    """
    roots = list(_roots())
    for root in roots:
        if (root / relative).exists():
            return root / relative
    raise FileNotFoundError(
        f'{PACKAGE} has no file {relative!r} in {", ".join(map(str, roots))}; '
        'reinstall the package or source its workspace'
    )


def tool(module: str, what: str) -> Any:
    """Import a module of the checkout's `tools/` folder, which is not installed.

    what: the feature that needs it, in the plural, for the error. Raises NotInstalledError.
    """
    name = f'{TOOLS}.{module}'
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # Of a package that a tool needs, the tool's own error says more.
        if error.name is None or not f'{name}.'.startswith(f'{error.name}.'):
            raise
        raise NotInstalledError(
            f'{what} are made by {name}, which is not installed with {PACKAGE}; clone its '
            'repository and start from there with ./run'
        ) from None


def _roots() -> Iterator[Path]:
    yield Path(__file__).resolve().parents[1]
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        if prefix:
            yield Path(prefix, 'share', PACKAGE)
    yield Path(sys.prefix, 'share', PACKAGE)
