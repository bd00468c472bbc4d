# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Measurements of speed: percentiles of times, and the machine and versions that gave them."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Dict, NamedTuple, Sequence, Union

import cv2
import numpy as np


class Percentiles(NamedTuple):
    """Median, 99th percentile and mean, in the unit of the values; NaN of nothing."""

    p50: float
    p99: float
    mean: float


def percentiles(values: Union[Sequence[float], np.ndarray]) -> Percentiles:
    """Percentiles of (N,) values."""
    if not len(values):
        return Percentiles(float('nan'), float('nan'), float('nan'))
    p50, p99 = np.percentile(values, (50, 99))
    return Percentiles(float(p50), float(p99), float(np.mean(values)))


_DECIDING = ('segformer_ros', 'openvino', 'tensorrt', 'tensorrt_rtx', 'av', 'rosbags')
"""Distributions that masks, frames and scores come from."""


def environment() -> Dict[str, str]:
    """Machine and library versions, in words."""
    return {
        'cpu': _cpu_name(),
        'cores': str(len(os.sched_getaffinity(0))),
        'system': platform.platform(),
        'python': platform.python_version(),
        'numpy': np.__version__,
        'opencv': str(cv2.__version__),
    }


def versions() -> Dict[str, str]:
    """Versions of what decides the numbers: this package, the engines' libraries, the decoders."""
    from importlib.metadata import PackageNotFoundError, version  # some 25 ms of a node's start

    found = {'numpy': np.__version__, 'opencv': str(cv2.__version__)}
    for name in _DECIDING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # not installed, or not by pip
            continue
    return found


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text(encoding='utf-8', errors='replace').splitlines():
            if line.startswith(('model name', 'Model')):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()
