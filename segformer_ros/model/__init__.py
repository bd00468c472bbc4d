# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Models: from a path to a ModelSpec, by what the file says and what is declared about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import List, Optional, Tuple, Union

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.model.deepstream import is_deepstream_config, read_deepstream_config
from segformer_ros.model.huggingface import read_huggingface
from segformer_ros.model.recognition import CONTRACTS, UnknownContractError, recognise
from segformer_ros.model.sidecar import find_sidecar, read_sidecar
from segformer_ros.model.signature import Signature, TensorSignature, read_signature
from segformer_ros.model.spec import (
    ENGINE_SUFFIXES,
    STRIDE,
    Declared,
    ModelError,
    ModelSpec,
    combine,
)
from segformer_ros.resources import share_path

BUNDLED_MODELS = {
    '': 'models/segformer_street.onnx',
    'tiny': 'models/segformer_street_tiny.onnx',
}
"""Models that come with the package, by the name to give instead of a path."""

_ENCRYPTED = (
    'is encrypted and cannot be read; export the model as ONNX (TAO: `export` without a key), or '
    'build an engine from it with tao-converter and give that'
)
_WEIGHTS = 'holds weights without their network; export the model as ONNX (see doc/models.md)'
_WAYS_OUT = {
    '.etlt': _ENCRYPTED,
    '.tlt': _ENCRYPTED,
    '.ckpt': _WEIGHTS,
    '.pt': _WEIGHTS,
    '.pth': _WEIGHTS,
    '.safetensors': _WEIGHTS,
}
"""Model files of other formats, and what to do with them."""


def bundled_model(name: str = '') -> Path:
    """A SegFormer that comes with the package, by its name in BUNDLED_MODELS."""
    return share_path(BUNDLED_MODELS[name])


def load_model(
    path: Union[str, Path, None] = None,
    class_map: Optional[ClassMap] = None,
    parameters: Declared = Declared(),
) -> ModelSpec:
    """Recognise a model: an ONNX file, a built engine, or a configuration that names one.

    path: None or '' takes the bundled model, 'tiny' the smaller one. class_map: replaces any
    other. parameters: what the caller declares; a sidecar yaml beside the file and a DeepStream
    configuration take precedence over it, and it takes precedence over Hugging Face's config.json
    and preprocessor_config.json. Raises ModelError; where a file fits several contracts, none is
    guessed.
    """
    name = path or ''
    file = bundled_model(str(name)) if name in BUNDLED_MODELS else Path(name)
    if file.is_dir():
        raise ModelError(f'{file} is a folder; name the model file in it')
    if not file.is_file():
        raise ModelError(f'no model file {file}; give the path of an ONNX file')
    declarations: List[Declared] = []
    if is_deepstream_config(file):
        config = read_deepstream_config(file)
        file = config.model
        declarations.append(config.declared)
    _check_kind(file)
    sidecar = find_sidecar(file)
    if sidecar:
        declarations.insert(0, read_sidecar(sidecar))
    explicit = combine([*declarations, parameters])
    hugging_face = read_huggingface(file)
    if explicit.contract not in (None, 'huggingface'):  # another contract has other statistics
        hugging_face = [replace(one, color=None, mean=None, std=None) for one in hugging_face]
    declared = combine([explicit, *hugging_face])
    if file.suffix in ENGINE_SUFFIXES:
        described = _described_signature(file, declared)
        return recognise(described, replace(declared, engine_file=file), class_map)
    return recognise(read_signature(file), declared, class_map)


def _check_kind(file: Path) -> None:
    if file.suffix in _WAYS_OUT:
        raise ModelError(f'{file} {_WAYS_OUT[file.suffix]}')


def _described_signature(engine: Path, declared: Declared) -> Signature:
    """Signature that an engine must have by its declaration; raises ModelError without one.

    Nothing is read from the file: it can be opened only on the GPU that it was built for, where
    its names and types are checked.
    """
    known = {entry.name: entry for entry in CONTRACTS}
    contract = known.get(declared.contract or '')
    described = declared.color and declared.mean and declared.std and declared.output_kind
    if declared.size is None or not (contract or described):
        raise ModelError(
            f'{engine} is a built engine and does not say what it wants; give the ONNX file that '
            'it was built from, or a DeepStream configuration with both onnx-file and '
            f'model-engine-file, or say contract and size in a sidecar {engine.name}.yaml'
        )
    # The input's name is not used, except to recognise the contract by it.
    name = contract.input_name if contract else 'image'
    default_kind = contract.output_kinds[0] if contract else ''
    labels = (declared.output_kind or default_kind) == 'labels'
    return Signature(
        path=engine,
        inputs=(TensorSignature(name, 'float32', _input_shape(declared)),),
        outputs=(
            TensorSignature(
                declared.output_name or 'output',
                'int32' if labels else 'float32',
                _output_shape(declared, labels),
            ),
        ),
        heads={},
        input_channel=None,
        weights=(),
        opset=0,
        producer='',
        metadata={},
    )


def _input_shape(declared: Declared) -> Tuple[Optional[int], ...]:
    height, width = declared.size or (None, None)
    sides = {'N': None, 'C': 3, 'H': height, 'W': width}
    return tuple(sides[axis] for axis in declared.input_layout or 'NCHW')


def _output_shape(declared: Declared, labels: bool) -> Tuple[Optional[int], ...]:
    height, width = declared.size or (0, 0)
    cell = 1 if labels else STRIDE
    sides = {'N': None, 'C': 1 if labels else _class_count(declared)}
    sides.update(H=height // cell, W=width // cell)
    return tuple(sides[axis] for axis in declared.output_layout or 'NCHW')


def _class_count(declared: Declared) -> Optional[int]:
    """Number of classes of the scores: as declared, else that of the class map."""
    if declared.class_count is None and declared.classes:
        return len(load_class_map(declared.classes))
    return declared.class_count


__all__ = [
    'BUNDLED_MODELS',
    'STRIDE',
    'Declared',
    'ModelError',
    'ModelSpec',
    'UnknownContractError',
    'bundled_model',
    'load_model',
]
