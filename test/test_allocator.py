# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The allocator: a frame's buffer is not taken from the kernel anew, unless one wants that."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='no glibc')

FAULTS = """
import resource, sys
from segformer_ros.allocator import keep_buffers
print(keep_buffers())
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for size in (6_000_000, 25_000_000):
    for _ in range(3):
        bytearray(size)
    before = faults()
    for _ in range(20):
        bytearray(size)
    print(faults() - before)
"""


def measured(**environment: str) -> tuple[bool, int, int]:
    """Whether buffers are kept, and page faults of 20 buffers of 6 and of 25 MB."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(('MALLOC', 'SEGFORMER_M'))}
    done = subprocess.run(
        [sys.executable, '-c', FAULTS], env={**clean, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept, small, large = done.stdout.split()
    return kept == 'True', int(small), int(large)


def test_buffers_of_frames_cost_no_page_faults() -> None:
    kept, small, large = measured()
    assert kept
    assert small < 100 and large < 100, 'the kernel clears 1,465 and 6,100 pages for each'


@pytest.mark.parametrize(
    'environment',
    [
        {'SEGFORMER_MALLOC': 'system'},
        {'MALLOC_ARENA_MAX': '2'},
        {'GLIBC_TUNABLES': 'glibc.malloc.check=0'},
    ],
)
def test_the_allocator_is_left_alone_where_somebody_says_so(environment: dict[str, str]) -> None:
    assert not measured(**environment)[0]
