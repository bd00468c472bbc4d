#!/usr/bin/env python3
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
