# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Reading ahead of the work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from segformer_ros.recordings.source import read_ahead


class Counted:
    """An iterator that knows how many of its items were taken, and whether it was closed."""

    def __init__(self, count: int) -> None:
        self.taken = 0
        self.count = count

    def items(self) -> Iterator[int]:
        """Numbers from 0; an error at the end."""
        for number in range(self.count):
            self.taken += 1
            yield number
        raise RuntimeError('the end is broken')


def test_items_come_in_order_and_the_error_where_it_belongs() -> None:
    ahead = read_ahead(Counted(10).items(), depth=3)
    assert [next(ahead) for _ in range(10)] == list(range(10))
    with pytest.raises(RuntimeError, match='the end is broken'):
        next(ahead)


def test_no_more_than_depth_is_read_ahead() -> None:
    counted = Counted(100)
    ahead = read_ahead(counted.items(), depth=3)
    assert [next(ahead) for _ in range(5)] == [0, 1, 2, 3, 4]
    ahead.close()
    assert counted.taken <= 5 + 3


def test_nothing_gives_nothing() -> None:
    assert list(read_ahead(iter([]))) == []
