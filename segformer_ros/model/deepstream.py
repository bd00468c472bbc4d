# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""DeepStream: what an nvinfer configuration says about a segmentation model.

Keys as in the Gst-nvinfer manual; the input is `net-scale-factor * (pixel - offset)`, paths are
relative to the configuration's own folder. An application's configuration names the nvinfer
configuration.
"""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, TypeVar

from segformer_ros.documents import (
    LONGEST_PATH,
    Check,
    DocumentError,
    FieldError,
    mapping,
    number,
    parse_yaml,
    read_text,
    text,
)
from segformer_ros.errors import reason
from segformer_ros.model.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Declared,
    ModelError,
    batch_size,
    class_count,
    divisor,
    input_size,
    offset,
    share,
)

T = TypeVar('T')

_text_value = text(LONGEST_PATH, least=0)
_PROPERTIES = mapping(lambda value: '' if value is None else _text_value(value))
_INFERENCE = re.compile(r'(?:primary|secondary)-gie\d*')
"""Groups of an application's configuration that each run a network."""
_GROUP = re.compile(rf'\[?(?:property|{_INFERENCE.pattern})[]:]')
_OVERRIDING_FILES = ('model-engine-file', 'labelfile-path')
"""Keys of such a group that override the nvinfer configuration's; so does batch-size."""
TRITON = '1'
"""The plugin-type of nvinferserver."""

SEGMENTATION = 2
ROUNDED = 0.002
"""Share by which numbers may differ because they were rounded when written down."""
COLOR_FORMATS: Dict[int, str] = {0: 'rgb', 1: 'bgr'}
NETWORK_MODES: Dict[int, str] = {0: 'fp32', 1: 'int8', 2: 'fp16'}
OUTPUT_ORDERS: Dict[int, str] = {0: 'NCHW', 1: 'NHWC'}

USED = (
    'batch-size',
    'infer-dims',
    'labelfile-path',
    'maintain-aspect-ratio',
    'model-color-format',
    'model-engine-file',
    'net-scale-factor',
    'network-mode',
    'network-type',
    'num-detected-classes',
    'offsets',
    'onnx-file',
    'output-blob-names',
    'segmentation-output-order',
    'segmentation-threshold',
)
WITHOUT_EFFECT = (
    'cluster-mode',
    'custom-lib-path',
    'gie-unique-id',
    'gpu-id',
    'interval',
    'network-input-order',
    'output-tensor-meta',
    'parse-segmentation-func-name',
    'process-mode',
    'scaling-compute-hw',
    'scaling-filter',
    'symmetric-padding',
    'tlt-model-key',
    'workspace-size',
)
"""Keys of DeepStream's own pipeline, which change no mask here."""


@dataclass(frozen=True)
class DeepStreamConfig:
    """The ONNX or engine file that a configuration names, and what it declares about it."""

    model: Path
    declared: Declared


def is_deepstream_config(path: Path) -> bool:
    """Whether a file is a configuration of nvinfer or of an application, as ini or yaml."""
    if path.suffix not in ('.txt', '.cfg', '.conf', '.yaml', '.yml'):
        return False
    return any(_GROUP.match(line.strip()) for line in _text(path).splitlines())


def _text(path: Path) -> str:
    try:
        return read_text(path, errors='replace')  # comments are in any encoding
    except (OSError, DocumentError) as error:
        raise ModelError(f'cannot read {path}: {reason(error)}; check the file') from error


def read_deepstream_config(path: Path) -> DeepStreamConfig:
    """Read a configuration of nvinfer, or the one of the network that an application runs.

    Raises ModelError for contradictions and unsupported settings.
    """
    groups = _read_groups(path)
    if 'property' in groups:
        return _read_nvinfer(_Properties(path, groups['property']))
    return _read_nvinfer(_of_application(path, groups))


def _of_application(path: Path, groups: Mapping[str, Mapping[str, str]]) -> _Properties:
    """The nvinfer configuration of an application's one segmentation network."""
    running = {name: values for name, values in groups.items() if values.get('enable', '1') != '0'}
    networks: Dict[str, _Properties] = {}
    for name, values in running.items():
        config_file = values.get('config-file') or values.get('config-file-path')
        if config_file is None or values.get('plugin-type') == TRITON:
            continue
        file = path.parent / config_file
        properties = _read_groups(file).get('property')
        if properties is None:
            raise ModelError(f'{path}: {name} names {file}, which is not an nvinfer configuration')
        over = {key: str(path.absolute().parent / values[key])
                for key in _OVERRIDING_FILES if key in values}  # fmt: skip
        over.update({key: values[key] for key in ('batch-size',) if key in values})
        networks[name] = _Properties(file, {**properties, **over})
    segmenters = {
        name: keys
        for name, keys in networks.items()
        if keys.value('network-type', number()) == SEGMENTATION
    }
    chosen = segmenters or networks
    if len(chosen) != 1:
        what = ', '.join(f'{name} ({keys.file})' for name, keys in chosen.items())
        raise ModelError(
            f'{path} runs {f"several networks: {what}" if chosen else "no network by nvinfer"}; '
            'give the nvinfer configuration of the one that segments'
        )
    return next(iter(chosen.values()))


def _read_nvinfer(keys: _Properties) -> DeepStreamConfig:
    path = keys.file
    keys.expect('network-type', SEGMENTATION, 'is not a segmentation model; it must be 2')
    keys.expect('symmetric-padding', 0, 'centres the image; only 0 (upper left) is supported')
    color = keys.choice('model-color-format', COLOR_FORMATS, 0)
    mean = keys.list('offsets', offset, 3) or (0.0, 0.0, 0.0)
    std, note = _std(keys.scale(), mean, color)
    return DeepStreamConfig(
        model=_model_file(path, keys),
        declared=Declared(
            origin=str(path),
            color=color,
            mean=mean,
            std=std,
            fit='letterbox' if keys.value('maintain-aspect-ratio', number()) else 'stretch',
            size=keys.size(),
            output_name=keys.output_name(),
            output_layout=keys.choice('segmentation-output-order', OUTPUT_ORDERS),
            classes=keys.path('labelfile-path'),
            class_count=keys.value('num-detected-classes', class_count),
            threshold=keys.value('segmentation-threshold', share),
            engine_file=_existing(keys.path('model-engine-file')),
            precision=keys.choice('network-mode', NETWORK_MODES),
            max_batch=keys.value('batch-size', batch_size),
            notes=(*keys.notes(), *note),
        ),
    )


def _std(
    scale: float, mean: Tuple[float, ...], color: Optional[str]
) -> Tuple[Tuple[float, ...], Tuple[str, ...]]:
    """Standard deviations for a net-scale-factor, and a note where they are not its inverse.

    DeepStream has one factor for three channels. The mean of ImageNet's three deviations is taken
    to mean those three, from which it differs by up to 1.3 %.
    """
    order = 1 if color == 'rgb' else -1
    deviation = 1.0 / scale
    if _near(mean, IMAGENET_MEAN[::order]) and _near((deviation,), (sum(IMAGENET_STD) / 3,)):
        return IMAGENET_STD[::order], (
            f"net-scale-factor {scale:g} is the mean of ImageNet's three; those were taken",
        )
    return (deviation,) * 3, ()


def _near(values: Tuple[float, ...], others: Tuple[float, ...]) -> bool:
    return all(abs(one / other - 1.0) < ROUNDED for one, other in zip(values, others))


def _existing(file: Optional[str]) -> Optional[Path]:
    """DeepStream builds an engine that is not there yet; so does this package, from the ONNX."""
    return Path(file) if file and Path(file).is_file() else None


def _model_file(path: Path, keys: _Properties) -> Path:
    """The ONNX file, or where none is named the engine."""
    onnx = keys.path('onnx-file')
    if onnx is not None:
        if not Path(onnx).is_file():
            raise ModelError(f'{path}: onnx-file {onnx} does not exist')
        return Path(onnx)
    engine = _existing(keys.path('model-engine-file'))
    if engine is not None:
        return engine
    encrypted = keys.values.get('tlt-encoded-model')
    if encrypted:
        raise ModelError(
            f'{path}: tlt-encoded-model={encrypted} is encrypted and cannot be read; export the '
            'model as ONNX and name it by onnx-file, or build an engine with tao-converter and '
            'name it by model-engine-file'
        )
    raise ModelError(f'{path} names neither an onnx-file nor a model-engine-file that is there')


def _read_groups(path: Path) -> Mapping[str, Mapping[str, str]]:
    """The groups of a configuration that concern networks, with their values as text."""
    text = _text(path)
    try:
        if path.suffix in ('.yaml', '.yml'):
            document: Any = parse_yaml(text)
            groups = dict(document) if isinstance(document, dict) else {}
        else:
            parser = configparser.ConfigParser(
                delimiters=('=',),
                inline_comment_prefixes=('#',),
                interpolation=None,
                strict='[property]' in text,
            )
            parser.read_string(text, str(path))
            groups = {name: dict(parser[name]) for name in parser.sections()}
        return {
            str(name): _PROPERTIES(values)
            for name, values in groups.items()
            if name == 'property' or _INFERENCE.fullmatch(str(name))
        }
    except (configparser.Error, DocumentError) as error:
        raise ModelError(f'{path} is not an nvinfer configuration: {reason(error)}') from error


class _Properties:
    """The [property] group: typed look-ups whose errors name file, key and value."""

    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        self.file = path
        self.values = values

    def value(self, key: str, check: Check[T]) -> Optional[T]:
        """The one value of a key; None without the key."""
        values = self.list(key, check, 1)
        return values[0] if values else None

    def list(self, key: str, check: Check[T], count: int) -> Optional[Tuple[T, ...]]:
        """Values separated by ';'; None without the key."""
        text = self.values.get(key)
        if text is None:
            return None
        try:
            values = tuple(check(part.strip()) for part in text.rstrip('; ').split(';'))
        except FieldError as error:
            raise self._error(key, error.words) from error
        if len(values) != count:
            raise self._error(key, f'must hold {count} number(s)')
        return values

    def choice(
        self, key: str, choices: Mapping[int, str], default: Optional[int] = None
    ) -> Optional[str]:
        """The meaning of a key's number."""
        value = self.value(key, number())
        value = default if value is None else value
        if value is not None and value not in choices:
            meanings = ', '.join(f'{number} ({name})' for number, name in choices.items())
            raise self._error(key, f'is not one of {meanings}')
        return None if value is None else choices[int(value)]

    def path(self, key: str) -> Optional[str]:
        """A path, relative to the configuration's folder; None without the key."""
        text = self.values.get(key)
        return str(self.file.parent / text) if text else None

    def scale(self) -> float:
        """net-scale-factor; 1 without it."""
        value = self.value('net-scale-factor', divisor)
        if value is not None and value <= 0:
            raise self._error('net-scale-factor', 'must be above 0')
        return 1.0 if value is None else value

    def size(self) -> Optional[Tuple[int, int]]:
        """(height, width) of infer-dims, which is channels;height;width."""
        dims = self.list('infer-dims', number(), 3)
        if dims is None:
            return None
        if dims[0] != 3:
            raise self._error('infer-dims', 'must begin with 3 channels (channels;height;width)')
        try:
            return input_size(dims[1:])
        except FieldError as error:
            raise self._error('infer-dims', error.words) from error

    def output_name(self) -> Optional[str]:
        """The one name of output-blob-names."""
        text = self.values.get('output-blob-names')
        names = [name for name in text.split(';') if name] if text else []
        if len(names) > 1:
            raise self._error('output-blob-names', 'must name one output, the segmentation')
        return names[0] if names else None

    def expect(self, key: str, wanted: int, words: str) -> None:
        """Refuse any value of a key but the one that is supported."""
        if self.value(key, number()) not in (None, wanted):
            raise self._error(key, words)

    def notes(self) -> Tuple[str, ...]:
        """A note on unknown keys, if there are any."""
        unknown = sorted(set(self.values) - {*USED, *WITHOUT_EFFECT, 'tlt-encoded-model'})
        return (f'{self.file.name}: not used: {", ".join(unknown)}',) if unknown else ()

    def _error(self, key: str, words: str) -> ModelError:
        return ModelError(f'{self.file}: {key}={self.values.get(key)} {words}')
