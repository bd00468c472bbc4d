#!/usr/bin/env python3
# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Print the pins of requirements files that a sourced ROS distribution does not bring itself.

    missing_requirements.py runtime.txt dev.txt >missing.txt

cv_bridge and rclpy are compiled against the distribution's numpy and OpenCV, so those stay.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

# Distribution name on the registry -> module that the system's package brings.
FROM_THE_SYSTEM = {'numpy': 'numpy', 'opencv-python-headless': 'cv2', 'pyyaml': 'yaml'}
# The pinned onnx and ml_dtypes want this numpy at least.
OLDEST_NUMPY = (1, 23, 2)
NUMPY_FOR_OLD_SYSTEMS = 'numpy==1.26.4'  # has the ABI that the system's cv_bridge was built for


def numpy_is_too_old() -> bool:
    """Whether the system's numpy is older than the pins can work with."""
    import numpy as np

    return tuple(int(part) for part in np.__version__.split('.')[:3]) < OLDEST_NUMPY


def missing(lines: list[str]) -> list[str]:
    """Keep the pins among `lines` that must be installed."""
    kept = []
    for line in lines:
        name = re.split(r'[=\s]', line, maxsplit=1)[0].lower()
        module = FROM_THE_SYSTEM.get(name)
        if module is None or importlib.util.find_spec(module) is None:
            kept.append(line)
    if importlib.util.find_spec('numpy') and numpy_is_too_old():
        kept.append(NUMPY_FOR_OLD_SYSTEMS)
    return sorted(set(kept))


if __name__ == '__main__':
    pins = [line for path in sys.argv[1:] for line in Path(path).read_text().splitlines()]
    print('\n'.join(missing([pin for pin in pins if '==' in pin])))
