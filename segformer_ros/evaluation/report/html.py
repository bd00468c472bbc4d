"""Small pieces of HTML."""

from __future__ import annotations

import math
from html import escape
from typing import Any, Iterable, Optional, Sequence


def element(tag: str, *content: str, **attributes: object) -> str:
    """An element of content that is HTML already; attributes are escaped, `class_` is class."""
    named = ''.join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f'<{tag}{named}>{"".join(content)}</{tag}>'


def text(value: object) -> str:
    """Escaped text."""
    return escape(str(value))


def section(title: str, *content: str, note: str = '') -> str:
    """A titled section; nothing where it has no content."""
    if not any(content):
        return ''
    remark = element('p', text(note), class_='note') if note else ''
    return element('section', element('h2', text(title)), remark, *content)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], class_: str = '') -> str:
    """A table of cells that are HTML already; the first cell of a row is its heading."""
    head = element('tr', *(element('th', text(cell), scope='col') for cell in header))
    body = (
        element(
            'tr',
            element('th', row[0], scope='row'),
            *(element('td', cell) for cell in row[1:]),
        )
        for row in rows
    )
    whole = element(
        'table', element('thead', head), element('tbody', *body), class_=class_ or None
    )
    return element('div', whole, class_='scroll')


def known(value: Optional[float]) -> bool:
    """Whether there is a number."""
    return value is not None and not math.isnan(value)


def percent(value: Optional[float], digits: int = 1) -> str:
    """A share as a percentage, an en dash where there is none."""
    return f'{100 * value:.{digits}f}' if value is not None and known(value) else '–'


def change(after: Optional[float], before: Optional[float], lower_is_better: bool = False) -> str:
    """Difference of two shares in percentage points, marked as better or worse."""
    if after is None or before is None or not (known(after) and known(before)):
        return ''
    points = 100 * (after - before)
    if abs(points) < 0.05:
        return element('span', '±0.0', class_='same')
    better = (points < 0) == lower_is_better
    sign = '+' if points > 0 else '−'
    arrow = '▲' if points > 0 else '▼'
    return element(
        'span', f'{arrow} {sign}{abs(points):.1f}', class_='better' if better else 'worse'
    )


def facts(pairs: Iterable[Sequence[Any]]) -> str:
    """A list of names and values."""
    rows = (element('dt', text(name)) + element('dd', text(value)) for name, value in pairs)
    return element('dl', *rows)
