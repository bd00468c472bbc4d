#!/usr/bin/env python3
# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Point the CMake exports of the ROS wheels at this interpreter's and this numpy's headers.

The wheels carry two include paths of the machine that built them; a build that uses one of the
exported targets would stop at the missing folders. Files are replaced, not written in place: the
installer may share their content with its cache by hard links.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

PYTHON_HEADERS = re.compile(r'/opt/python/cp\d+-cp\d+/include/python3\.\d+')
NUMPY_HEADERS = re.compile(
    r'/opt/python/cp\d+-cp\d+/lib/python3\.\d+/site-packages/numpy/_?core/include'
)


def relocate(prefix: Path) -> int:
    """Rewrite every CMake export under `prefix`/share; return how many files changed."""
    changed = 0
    for path in prefix.glob('share/*/cmake/*.cmake'):
        old = path.read_text()
        new = NUMPY_HEADERS.sub(np.get_include(), old)
        new = PYTHON_HEADERS.sub(sysconfig.get_path('include'), new)
        if new != old:
            scratch = path.with_suffix('.cmake.new')
            scratch.write_text(new)
            os.replace(scratch, path)
            changed += 1
    return changed


if __name__ == '__main__':
    print(f'{relocate(Path(sys.prefix))} CMake exports relocated')
