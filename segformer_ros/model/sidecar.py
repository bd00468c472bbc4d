"""Sidecar: a yaml file beside a model that says what the model's file cannot."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple

import yaml

from segformer_ros.classes import ClassMap, ClassMapError, load_class_map
from segformer_ros.destination import write_file
from segformer_ros.errors import reason
from segformer_ros.model.declared import Declared
from segformer_ros.model.spec import (
    COLORS,
    ENGINE_SUFFIXES,
    FITS,
    OUTPUT_KINDS,
    ModelError,
    ModelSpec,
)


def find_sidecar(model: Path) -> Optional[Path]:
    """The yaml beside a model: `model.onnx.yaml` or `model.yaml`."""
    for candidate in (sidecar_path(model), model.with_suffix('.yaml')):
        if candidate.is_file():
            return candidate
    return None


def sidecar_path(model: Path) -> Path:
    """Where `write_sidecar` puts it."""
    return model.with_name(f'{model.name}.yaml')


def read_sidecar(path: Path) -> Declared:
    """Read a sidecar; raises ModelError naming the key that is unknown or wrong."""
    try:
        data = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f'cannot read {path}: {reason(error)}') from error
    if not isinstance(data, dict):
        raise ModelError(f'{path} is no mapping; it may hold {", ".join(_KEYS)}')
    values: Dict[str, Any] = {}
    for key, value in data.items():
        if key not in _KEYS:
            raise ModelError(f'{path}: unknown key {key!r}; known are {", ".join(_KEYS)}')
        try:
            values[key] = _KEYS[key](value)
        except (TypeError, ValueError) as error:
            raise ModelError(f'{path}: {key}: {value!r} {error}') from error
    if 'classes' in values and Path(values['classes']).suffix:
        values['classes'] = str(path.parent / values['classes'])
    return Declared(origin=str(path), **values)


def write_sidecar(spec: ModelSpec, model: Path) -> Path:
    """Write beside a model's file what it cannot say of its spec itself; the sidecar's path.

    Of an engine that is everything. A class map that is no preset's has a file of its own.
    """
    says: Dict[str, Any] = {
        'color': spec.color,
        'mean': list(spec.mean),
        'std': list(spec.std),
        'fit': spec.fit,
        'size': list(spec.size),
        'output_kind': spec.output_kind,
        'classes': _name_classes(spec.class_map, model),
    }
    if spec.threshold:
        says['threshold'] = spec.threshold
    if model.suffix in ENGINE_SUFFIXES:
        says.update(
            input_layout=spec.input_layout,
            output_layout=spec.output_layout,
            output_name=spec.output_name,
            precision=spec.precision,
            max_batch=spec.max_batch,
        )
    sidecar = sidecar_path(model)
    known = {key: value for key, value in says.items() if value is not None}
    write_file(sidecar, yaml.safe_dump(known, sort_keys=False).encode())
    return sidecar


def _name_classes(class_map: ClassMap, model: Path) -> str:
    """The preset that a class map is, else the name of a file written beside the model."""
    with suppress(ClassMapError):
        if load_class_map(class_map.name) == class_map:
            return class_map.name
    path = model.with_name(f'{model.name}.classes.yaml')
    write_file(path, class_map.as_yaml().encode())
    return path.name


def _one_of(choices: Tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f'is not one of {", ".join(choices)}')
        return str(value)

    return check


def _three(value: Any) -> Tuple[float, ...]:
    numbers = tuple(float(entry) for entry in value)
    if len(numbers) != 3:
        raise ValueError('is not three numbers, one a channel')
    return numbers


def _three_nonzero(value: Any) -> Tuple[float, ...]:
    numbers = _three(value)
    if 0.0 in numbers:
        raise ValueError('holds a zero, which cannot be divided by')
    return numbers


def _size(value: Any) -> Tuple[int, int]:
    height, width = (int(side) for side in value)
    if min(height, width) < 1:
        raise ValueError('is not [height, width] in pixels')
    return height, width


def _count(value: Any) -> int:
    if int(value) < 1:
        raise ValueError('is not 1 or more')
    return int(value)


_KEYS: Dict[str, Callable[[Any], Any]] = {
    'contract': str,
    'color': _one_of(COLORS),
    'mean': _three,
    'std': _three_nonzero,
    'fit': _one_of(FITS),
    'size': _size,
    'output_name': str,
    'output_kind': _one_of(OUTPUT_KINDS),
    'output_layout': _one_of(('NCHW', 'NHWC', 'NHW')),
    'input_layout': _one_of(('NCHW', 'NHWC')),
    'classes': str,
    'threshold': float,
    'precision': _one_of(('fp32', 'fp16', 'int8')),
    'max_batch': _count,
}
