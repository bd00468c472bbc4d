#!/usr/bin/env python3
# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Compile the CUDA kernels for every GPU in the field, as a release carries them.

Needs NVRTC alone (pip install nvidia-cuda-nvrtc-cu12==12.9.86), neither a GPU nor a toolkit.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segformer_ros.engines.cuda.compile import (
    NEWER,
    PREBUILT,
    RELEASED,
    UnknownGpu,
    compile_with_nvrtc,
    file_name,
)
from segformer_ros.errors import explained


def main() -> int:
    """Write one cubin for each compute capability."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=PREBUILT, help='folder (default: the package)')
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for sm in (*RELEASED, *NEWER):
        path = arguments.out / file_name(sm)
        try:
            path.write_bytes(compile_with_nvrtc(sm))
        except UnknownGpu as error:
            if sm in RELEASED:
                raise
            print(f'left out: {error}')
            continue
        print(f'{path} ({path.stat().st_size} bytes)')
    return 0


if __name__ == '__main__':
    sys.exit(explained('prebuild_kernels', main))
