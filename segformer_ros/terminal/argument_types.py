"""Numbers on the command line: the types of arguments, each with its limits."""

from __future__ import annotations

import argparse
import math
from typing import Callable, List, Optional, Tuple, TypeVar

N = TypeVar('N', int, float)


def whole(low: int, high: Optional[int] = None) -> Callable[[str], int]:
    """Type of an argument: a whole number, `low` or more, at most `high`."""
    words = f'{low} or more' if high is None else f'from {low} to {high}'

    def read(text: str) -> int:
        value = _read(int, text, f'a whole number, {words}')
        if value < low or (high is not None and value > high):
            raise _refusal(text, f'a whole number, {words}')
        return value

    return read


def number(
    low: float = -math.inf, high: float = math.inf, above: bool = False
) -> Callable[[str], float]:
    """Type of an argument: a finite number from `low` to `high`; `above`: more than `low`."""
    words = f'a number{_limits(low, high, above)}'

    def read(text: str) -> float:
        value = _read(float, text, words)
        outside = not low <= value <= high or (above and value == low)
        if outside or not math.isfinite(value):
            raise _refusal(text, words)
        return value

    return read


def wholes(high: Optional[int] = None) -> Callable[[str], List[int]]:
    """Type of an argument: positive whole numbers, at most `high`, as in 1,2,4."""
    words = 'positive whole numbers' if high is None else f'whole numbers from 1 to {high}'

    def read(text: str) -> List[int]:
        parts = [part.strip() for part in text.split(',')]
        values = [int(part) if part.isdecimal() else 0 for part in parts]
        if min(values) < 1 or (high is not None and max(values) > high):
            raise _refusal(text, f'a list of {words}, as in 1,2,4')
        return values

    return read


def size(text: str) -> Tuple[int, int]:
    """Type of an argument: WIDTHxHEIGHT; returns (height, width)."""
    width, _, height = text.lower().partition('x')
    sides = (height, width)
    if not all(side.isdecimal() and int(side) for side in sides):
        raise _refusal(text, 'WIDTHxHEIGHT in pixels, as in 1920x1080')
    return int(height), int(width)


def _limits(low: float, high: float, above: bool) -> str:
    if above:
        return f' above {low:g}' + (f', at most {high:g}' if high < math.inf else '')
    if high < math.inf:
        return f' from {low:g} to {high:g}'
    return f', {low:g} or more' if low > -math.inf else ''


def _read(kind: Callable[[str], N], text: str, words: str) -> N:
    try:
        return kind(text)
    except ValueError:
        raise _refusal(text, words) from None


def _refusal(text: str, words: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f'{text!r} is not {words}')
