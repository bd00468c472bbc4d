# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The comparisons of kernels on the CPU's own: right ones pass, wrong ones do not."""

from __future__ import annotations

import ctypes

import host_kernels
import numpy as np
import pytest

from segformer_ros.engines.cuda.launches import BYTE_ORDER, Launch
from segformer_ros.verification.golden import compare_encoding, compare_mosaic


class Host:
    """Memory and kernels of the CPU. spoil: end of the name of a kernel that does nothing."""

    def __init__(self, spoil: str = '-') -> None:
        self._kept: list[np.ndarray] = []
        self._spoil = spoil

    def put(self, array: np.ndarray) -> int:
        self._kept.append(np.ascontiguousarray(array).copy())
        return int(self._kept[-1].ctypes.data)

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        result = np.empty_like(like)
        ctypes.memmove(result.ctypes.data, address, result.nbytes)
        return result

    def launch(self, job: Launch) -> None:
        if not job.kernel.endswith(self._spoil):
            host_kernels.run(job)


@pytest.mark.parametrize('encoding', BYTE_ORDER)
def test_right_kernels_pass(encoding: str) -> None:
    results = list(compare_encoding(Host(), encoding))
    assert len(results) == 50 and not [result for result in results if result.wrong]


def test_right_windows_pass() -> None:
    assert [result.wrong for result in compare_mosaic(Host())] == [0.0, 0.0]


@pytest.mark.parametrize('kernel', ['preprocess', 'cells', 'postprocess'])
def test_a_wrong_kernel_is_found(kernel: str) -> None:
    wrong = [str(one) for one in compare_encoding(Host(f'_{kernel}'), 'bgr8') if one.wrong]
    assert any(line.startswith(f'{kernel} of ') for line in wrong)


def test_wrong_windows_are_found() -> None:
    assert all(one.wrong > 0.5 for one in compare_mosaic(Host('_mosaic')))
