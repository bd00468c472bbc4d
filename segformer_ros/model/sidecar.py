"""Sidecar: a yaml file beside a model that says what the model's file cannot."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Optional

import yaml

from segformer_ros.classes import ClassMap, ClassMapError, load_class_map
from segformer_ros.destination import write_file
from segformer_ros.documents import (
    LONGEST_PATH,
    DocumentError,
    FieldError,
    one_of,
    read_yaml,
    record,
    text,
)
from segformer_ros.errors import reason
from segformer_ros.model.declared import (
    Declared,
    batch_size,
    deviations,
    input_size,
    mean_values,
    share,
)
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
        values = _DOCUMENT(read_yaml(path))
    except FieldError as error:
        raise ModelError(f'{path}: {error}') from error
    except (OSError, DocumentError) as error:
        raise ModelError(f'cannot read {path}: {reason(error)}; mend or remove it') from error
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


_DOCUMENT = record(
    {
        'contract': text(),
        'color': one_of(COLORS),
        'mean': mean_values,
        'std': deviations,
        'fit': one_of(FITS),
        'size': input_size,
        'output_name': text(),
        'output_kind': one_of(OUTPUT_KINDS),
        'output_layout': one_of(('NCHW', 'NHWC', 'NHW')),
        'input_layout': one_of(('NCHW', 'NHWC')),
        'classes': text(LONGEST_PATH),
        'threshold': share,
        'precision': one_of(('fp32', 'fp16', 'int8')),
        'max_batch': batch_size,
    },
    closed=True,
)
"""A sidecar's yaml file."""
