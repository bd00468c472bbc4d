"""Declared: what somebody says of a model that its file does not say itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import List, Optional, Sequence, Tuple


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
