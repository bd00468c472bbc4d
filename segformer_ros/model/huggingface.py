# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Hugging Face: what the configurations beside an exported model say.

`config.json` names the classes and the task, `preprocessor_config.json` the preprocessing:
(pixel * rescale_factor - image_mean) / image_std, each step only if its `do_` is true.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from segformer_ros.classes import IGNORE_ID
from segformer_ros.documents import (
    Check,
    DocumentError,
    FieldError,
    flag,
    items,
    number,
    optional,
    read_json,
    record,
    text,
    whole,
)
from segformer_ros.errors import reason
from segformer_ros.model.spec import (
    LARGEST_SIDE,
    Declared,
    ModelError,
    deviations,
    divisor,
    input_size,
    mean_values,
    offset,
)

CONFIG, PREPROCESSOR = 'config.json', 'preprocessor_config.json'

_TASK = 'ForSemanticSegmentation'
"""End of the names of architectures whose output has a score for each class and pixel."""

_DEFAULTS: Dict[str, Any] = {
    'do_rescale': True,
    'rescale_factor': 1 / 255,
    'do_normalize': True,
    'do_resize': True,
    'do_center_crop': False,
    'do_flip_channel_order': False,
}
"""Defaults of transformers' image processors, for keys that a file leaves out."""


def read_huggingface(model: Path) -> List[Declared]:
    """What the configurations beside a model say, the preprocessor's first; raises ModelError.

    They are in the model's folder, or above it if that is called `onnx`, as on the hub.
    """
    own = model.absolute().parent
    for folder in (own, own.parent) if own.name == 'onnx' else (own,):
        read = [_read_preprocessor(folder / PREPROCESSOR), _read_config(folder / CONFIG)]
        declarations = [entry for entry in read if entry is not None]
        if declarations:
            return declarations
    return []


def _read(path: Path, check: Check[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """A configuration's fields; None where the file is missing or not one of transformers."""
    if not path.is_file():
        return None
    try:
        data = read_json(path)
        known = isinstance(data, dict) and set(data) & set(_SIGNS)
        return check(data) if known else None
    except FieldError as error:
        raise ModelError(f'{path}: {error}') from error
    except (OSError, DocumentError) as error:
        raise ModelError(f'cannot read {path}: {reason(error)}; correct or remove it') from error


def _read_config(path: Path) -> Optional[Declared]:
    """The classes of a config.json; raises ModelError for a model that is not a segmenter."""
    config = _read(path, _CONFIG)
    if config is None:
        return None
    for architecture in config.get('architectures') or ():
        if 'For' in architecture and not architecture.endswith(_TASK):
            raise ModelError(
                f'{path}: {architecture} does not give a score of each class for each pixel; '
                f'export a model whose architecture ends with {_TASK}'
            )
    labels = config.get('id2label') or {}
    return Declared(origin=str(path), class_names=_names(path, labels))


def _names(path: Path, labels: Mapping[str, str]) -> Optional[Tuple[str, ...]]:
    """Class names in the order of their ids; None where they are placeholders (LABEL_0)."""
    ids = {}
    for key, name in labels.items():
        try:
            ids[_class_id(key)] = name.strip()
        except FieldError as error:
            raise ModelError(f'{path}: id2label: {error}') from error
    if len(ids) < 2 or all(name.startswith('LABEL_') for name in ids.values()):
        return None
    named = [ids.get(index, f'class {index}') for index in range(max(ids) + 1)]
    return tuple(
        name if named.count(name) == 1 else f'{name} ({index})' for index, name in enumerate(named)
    )


def _read_preprocessor(path: Path) -> Optional[Declared]:
    """Colours, statistics and size of a preprocessor_config.json."""
    fields = _read(path, _PREPROCESSOR)
    if fields is None:
        return None
    settings = {**_DEFAULTS, **{key: value for key, value in fields.items() if value is not None}}
    scale = settings['rescale_factor'] if settings['do_rescale'] else 1.0
    mean, std = (0.0,) * 3, (1.0,) * 3
    if settings['do_normalize']:
        lacking = [key for key in ('image_mean', 'image_std') if key not in settings]
        if lacking:
            raise ModelError(
                f'{path} lacks {" and ".join(lacking)}, which differ from model to model; say '
                'color, mean and std in a sidecar yaml and remove it, or export it again'
            )
        mean, std = settings['image_mean'], settings['image_std']
    size, notes = _usual_size(path, settings)
    return Declared(
        origin=str(path),
        color='bgr' if settings['do_flip_channel_order'] else 'rgb',
        mean=tuple(round(value / scale, 6) for value in mean),
        std=tuple(round(value / scale, 6) for value in std),
        usual_size=size,
        notes=notes,
    )


def _usual_size(
    path: Path, settings: Mapping[str, Any]
) -> Tuple[Optional[Tuple[int, int]], Tuple[str, ...]]:
    """(height, width) that pictures are resized to, and a note where they keep their aspect."""
    size = settings.get('size') if settings['do_resize'] else None
    if settings['do_center_crop'] and settings.get('crop_size'):
        size = settings['crop_size']
    sides = size if isinstance(size, dict) else {'height': size, 'width': size}
    try:
        if sides.get('height') and sides.get('width'):
            return input_size((sides['height'], sides['width'])), ()
        side = sides.get('shortest_edge')
        if side is None:
            return None, ()
        square = input_size((side, side))
    except FieldError as error:
        raise ModelError(f'{path}: size: {error}') from error
    return square, (
        f'{path.name} resizes the shorter edge to {side} and keeps the aspect; a graph of any '
        f'size takes {side}x{side} here, unless a size is given',
    )


def _three(check: Check[Tuple[float, ...]], one: Check[float]) -> Check[Tuple[float, ...]]:
    """Three numbers, or one for all three colours."""

    def read(value: Any) -> Tuple[float, ...]:
        return check(value) if isinstance(value, (list, tuple)) else (one(value),) * 3

    return read


def _size(value: Any) -> Any:
    return _SIDES(value) if isinstance(value, dict) else _side(value)


def _labels(value: Any) -> Dict[str, str]:
    if not isinstance(value, dict):
        raise FieldError(value, 'is not a mapping of ids to names')
    return {str(key): _name(name) for key, name in value.items()}


_SIGNS = ('architectures', 'feature_extractor_type', 'id2label', 'image_mean',
          'image_processor_type', 'model_type', 'transformers_version')  # fmt: skip
"""Keys that tell files of transformers from other programs' files of the same name."""

_class_id = whole(0, IGNORE_ID - 1)
_name = text()
_side = whole(1, LARGEST_SIDE)
_SIDES = record(dict.fromkeys(('height', 'width', 'shortest_edge'), _side))
_CONFIG = record({'architectures': optional(items(text())), 'id2label': optional(_labels)})
_PREPROCESSOR = record(
    {
        'do_rescale': optional(flag),
        'rescale_factor': optional(number(1e-6, 1e6)),
        'do_normalize': optional(flag),
        'do_resize': optional(flag),
        'do_center_crop': optional(flag),
        'do_flip_channel_order': optional(flag),
        'image_mean': optional(_three(mean_values, offset)),
        'image_std': optional(_three(deviations, divisor)),
        'size': optional(_size),
        'crop_size': optional(_size),
    }
)
