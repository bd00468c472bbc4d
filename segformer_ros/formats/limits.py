# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Limits: how large untrusted data may be, checked before anything is allocated for it."""

from __future__ import annotations

from segformer_ros.errors import SegformerError

MAX_MEGAPIXELS = 25.0
"""Largest image that is accepted by default: the node needs less than 600 MB more for one with
all of its outputs."""

MAX_SIDE = 32768
"""Longest plausible side in pixels; a longer one means a broken header."""

MAX_RATIO = 1100
"""Greatest plausible compression ratio: that of deflate is at most 1032."""

MAX_MESSAGE_BYTES = 256 << 20
"""Largest message, or chunk of messages, that is decompressed: 10 bytes a pixel of the largest
image."""


class FrameError(SegformerError, ValueError):
    """An image that cannot be used: says what is wrong and which value."""


class SizeError(SegformerError, ValueError):
    """Data that decompress to more than is plausible."""


def check_size(height: int, width: int, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Raise FrameError for an image of no pixels, or of too many."""
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise FrameError(f'image of {width}x{height} pixels; each side must be 1 to {MAX_SIDE}')
    if height * width > max_megapixels * 1e6:
        raise FrameError(
            f'image of {width}x{height} pixels is above the limit of {max_megapixels:g} '
            'megapixels; raise max_megapixels if it is meant'
        )


def check_ratio(claimed: int, packed: int, what: str) -> None:
    """Raise FrameError where `packed` bytes cannot hold the `claimed` ones."""
    if claimed > packed * MAX_RATIO:
        raise FrameError(
            f'{what} of {packed} bytes claims {claimed} bytes of pixels, which it cannot hold'
        )
