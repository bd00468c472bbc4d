"""Declared: what somebody says of a model that its file does not say itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

from segformer_ros.documents import Check, FieldError, items, number, whole

LARGEST_SIDE = 16384
"""Pixels of a side of a network's input."""
MOST_PIXELS = 1 << 25
"""Of a network's input: a little more than 8K has."""

MOST_FRAMES = 1024
"""Of a batch."""
_FURTHEST = 1e6
_sides = items(whole(1, LARGEST_SIDE), 2, 2)
offset = number(-_FURTHEST, _FURTHEST)

mean_values: Check[Tuple[float, ...]] = items(offset, 3, 3)
"""Checks of what is declared, from whatever file: documents.FieldError where it cannot be."""
class_count = whole(1, 1 << 20)
batch_size = whole(1, MOST_FRAMES)
share = number(0, 1)


def divisor(value: Any) -> float:
    """A number that can be divided by."""
    found = offset(value)
    if abs(found) < 1 / _FURTHEST:
        raise FieldError(value, f'cannot be divided by; it must be {1 / _FURTHEST:g} or more')
    return found


deviations: Check[Tuple[float, ...]] = items(divisor, 3, 3)


def input_size(value: Any) -> Tuple[int, int]:
    """(height, width) of a network's input in pixels."""
    height, width = _sides(value)
    if height * width > MOST_PIXELS:
        raise FieldError(value, f'has more than {MOST_PIXELS} pixels')
    return height, width


@dataclass(frozen=True)
class Declared:
    """Facts on a model from one origin; None where it says nothing. As in ModelSpec."""

    origin: str = ''
    contract: Optional[str] = None
    color: Optional[str] = None
    mean: Optional[Tuple[float, ...]] = None
    std: Optional[Tuple[float, ...]] = None
    fit: Optional[str] = None
    size: Optional[Tuple[int, int]] = None
    input_layout: Optional[str] = None
    output_name: Optional[str] = None
    output_kind: Optional[str] = None
    output_layout: Optional[str] = None
    classes: Optional[str] = None
    """Preset's name or path of a class map."""
    class_count: Optional[int] = None
    threshold: Optional[float] = None
    engine_file: Optional[Path] = None
    precision: Optional[str] = None
    max_batch: Optional[int] = None
    notes: Tuple[str, ...] = ()


def combine(declarations: Sequence[Declared]) -> Declared:
    """One declaration of many, the more trusted first; notes say where a later one disagrees."""
    values = {}
    notes: List[str] = []
    for field in fields(Declared):
        if field.name in ('origin', 'notes'):
            continue
        said = [
            (entry.origin, getattr(entry, field.name))
            for entry in declarations
            if getattr(entry, field.name) is not None
        ]
        if not said:
            continue
        origin, values[field.name] = said[0]
        notes += [
            f'{field.name} {value} of {other} gives way to {said[0][1]} of {origin}'
            for other, value in said[1:]
            if value != said[0][1]
        ]
    origins = ', '.join(entry.origin for entry in declarations if entry.origin)
    every = [note for entry in declarations for note in entry.notes]
    return Declared(origin=origins, notes=(*every, *notes), **values)
