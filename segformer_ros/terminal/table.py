"""Tables as plain text."""

from __future__ import annotations

from typing import Iterable, List, Sequence


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


def _text(value: object) -> str:
    return f'{value:.3f}' if isinstance(value, float) else str(value)


def _is_numeric(values: Iterable[object]) -> bool:
    return all(isinstance(value, (int, float)) or value in ('', '-') for value in values)


def _line(cells: List[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right)
    )
    return '  '.join(padded).rstrip()
