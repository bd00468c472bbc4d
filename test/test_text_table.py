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
