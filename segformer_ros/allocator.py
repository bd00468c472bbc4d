# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Allocator: has glibc keep the buffers of frames that are freed, for the frames after them.

By itself glibc takes a buffer of a frame's size (6 MB for 1080p) from the kernel and gives it
back with every frame, and the kernel clears its 1,500 pages each time: most of what it costs to
take an image message, and much of what NumPy and OpenCV do with frames.
"""

from __future__ import annotations

import os
import sys

VARIABLE = 'SEGFORMER_MALLOC'
"""Environment variable that leaves the allocator as it is, where it is `system`."""

# mallopt(3). A threshold above half a heap is refused by glibc before 2.35.
_M_TRIM_THRESHOLD, _TRIM = -1, 128 * 2**20
_M_TOP_PAD, _PAD = -2, 16 * 2**20
_M_MMAP_THRESHOLD, _LARGEST = -3, 32 * 2**20


def keep_buffers() -> bool:
    """Have this process keep freed buffers of up to 32 MiB, 128 MiB of them; tell whether it does.

    Nothing changes without glibc, nor where the environment has settings of its own for malloc.
    Another allocator that is loaded before glibc's is not reached.
    """
    if os.environ.get(VARIABLE) == 'system' or not sys.platform.startswith('linux'):
        return False
    given = [name for name in os.environ if name.startswith('MALLOC_')]
    if given or 'malloc' in os.environ.get('GLIBC_TUNABLES', ''):
        return False
    import ctypes

    library = ctypes.CDLL(None)
    if not hasattr(library, 'gnu_get_libc_version'):  # musl has no mallopt
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST),
        (_M_TRIM_THRESHOLD, _TRIM),
        (_M_TOP_PAD, _PAD),
    )
    return all(library.mallopt(option, value) == 1 for option, value in settings)
