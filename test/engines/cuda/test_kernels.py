# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""kernels.cu, compiled for the CPU: its structs and its arithmetic."""

from __future__ import annotations

import ctypes

import host_kernels
import numpy as np
import pytest
from kernel_rig import address

from segformer_ros.engines.cuda.launches import STRUCTS


@pytest.mark.parametrize('name', ['Preprocess', 'Cells', 'Mosaic', 'Postprocess'])
def test_structs_are_laid_out_as_the_compiler_does(name: str) -> None:
    size = getattr(host_kernels.library(), f'sizeof_segformer_{name.lower()}')()
    assert STRUCTS[f'{name}Job'].itemsize == size
    assert size < 4096  # what a launch may pass by value


def test_half_conversion_is_exact() -> None:
    bits = np.arange(65536, dtype=np.uint16)
    floats = np.empty(65536, np.float32)
    library = host_kernels.library()
    library.host_to_float(ctypes.c_void_p(address(bits)), ctypes.c_void_p(address(floats)), 65536)
    np.testing.assert_array_equal(floats, bits.view(np.float16).astype(np.float32))

    rng = np.random.default_rng(0)
    numbers = np.concatenate(
        [
            floats[np.isfinite(floats)],
            rng.normal(0, 1, 50_000) * 10.0 ** rng.integers(-9, 6, 50_000),
            [65519.0, 65520.0, 65535.9, 1e30, -1e30, np.inf, 2.0**-25, 3 * 2.0**-25],
        ]
    ).astype(np.float32)
    halves = np.empty(len(numbers), np.uint16)
    library.host_to_half(
        ctypes.c_void_p(address(numbers)), ctypes.c_void_p(address(halves)), len(numbers)
    )
    with np.errstate(over='ignore'):
        np.testing.assert_array_equal(halves.view(np.float16), numbers.astype(np.float16))
