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

from typing import Iterable, List, Sequence

from segformer_ros.errors import one_line


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines of a table, columns two spaces apart; columns of numbers stand to the right.

    An empty header leaves its line out. Raises ValueError where a row has another length.
    """
    texts = [[_text(value) for value in row] for row in rows]
    lines = [list(header), *texts] if any(header) else texts
    columns = list(zip(*lines))
    if any(len(line) != len(header) for line in lines):
        raise ValueError(f'rows of {sorted({len(line) for line in lines})} columns in one table')
    widths = [max(map(len, column)) for column in columns]
    right = [_is_numeric(row[place] for row in rows) for place in range(len(header))]
    if any(header):
        lines.insert(1, ['-' * width for width in widths])
    return '\n'.join(_line(line, widths, right) for line in lines)


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Lines of a table for a document; values stand as `str` writes them."""
    lines = [markdown_row(header), f'|{"---|" * len(header)}', *map(markdown_row, rows)]
    return '\n'.join(lines)


def markdown_row(cells: Iterable[object]) -> str:
    """One line of `markdown_table`, for tables that are written as their rows come."""
    texts = map(str, cells)
    return '|' + ''.join(f' {text} |' if text else ' |' for text in texts)


def _text(value: object) -> str:
    return f'{value:.3f}' if isinstance(value, float) else one_line(str(value))


def _is_numeric(values: Iterable[object]) -> bool:
    return all(value in ('', '-') or _is_number(value) for value in values)


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _line(cells: List[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right)
    )
    return '  '.join(padded).rstrip()
