# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Numbers that make no sense are refused in words."""

from __future__ import annotations

import argparse
from typing import Any, Callable

import pytest

from segformer_ros.cli.arguments import number, size, whole, wholes


@pytest.mark.parametrize(
    ('kind', 'text', 'value'),
    [
        (whole(0), '0', 0),
        (whole(1, 8), '8', 8),
        (number(), '-1e3', -1000.0),
        (number(0, 1), '1', 1.0),
        (number(0, above=True), '0.01', 0.01),
        (wholes(), '1,2, 4', [1, 2, 4]),
        (size, '1920x1080', (1080, 1920)),
    ],
)
def test_what_is_right(kind: Callable[[str], Any], text: str, value: Any) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ('kind', 'text', 'words'),
    [
        (whole(0), '-1', 'a whole number, 0 or more'),
        (whole(1), '1.5', 'a whole number, 1 or more'),
        (whole(0, 63), '64', 'a whole number, from 0 to 63'),
        (number(), 'nan', 'a number'),
        (number(0), 'inf', 'a number, 0 or more'),
        (number(0), 'fast', 'a number, 0 or more'),
        (number(0, above=True), '0', 'a number above 0'),
        (number(0, 100, above=True), '101', 'a number above 0, at most 100'),
        (number(-90, 90), '90.5', 'a number from -90 to 90'),
        (wholes(), '1,0', 'a list of positive whole numbers, as in 1,2,4'),
        (wholes(), '', 'a list of positive whole numbers, as in 1,2,4'),
        (wholes(16), '1,17', 'a list of whole numbers from 1 to 16, as in 1,2,4'),
        (size, '0x3', 'WIDTHxHEIGHT in pixels, as in 1920x1080'),
        (size, '5', 'WIDTHxHEIGHT in pixels, as in 1920x1080'),
    ],
)
def test_what_is_refused(kind: Callable[[str], Any], text: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        kind(text)
    assert str(refused.value) == f'{text!r} is not {words}'
