# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Tables as plain text and as Markdown."""

from __future__ import annotations

import pytest

from segformer_ros.text_table import format_table, markdown_table


def test_columns_line_up_and_numbers_stand_to_the_right() -> None:
    text = format_table(('class', 'IoU', 'pixels'), [('road', 0.9512, 100), ('car', '-', 7)])
    assert text.splitlines() == [
        'class    IoU  pixels',
        '-----  -----  ------',
        'road   0.951     100',
        'car        -       7',
    ]


def test_an_empty_header_has_no_line() -> None:
    assert format_table(('', ''), [('frames', 'many'), ('a', 'b')]) == 'frames  many\na       b'


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r'rows of \[1, 2\] columns'):
        format_table(('a', 'b'), [('only one',)])


def test_markdown_keeps_values_and_empty_cells() -> None:
    text = markdown_table(('', 'IoU'), [('road', 0.9512), ('car', '-'), (3, '')])
    assert text.splitlines() == [
        '| | IoU |',
        '|---|---|',
        '| road | 0.9512 |',
        '| car | - |',
        '| 3 | |',
    ]
