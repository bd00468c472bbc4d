# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Files of a model: the ONNX, and those with its external data (weights)."""

from __future__ import annotations

import hashlib
import os
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

from segformer_ros.documents import DocumentError, open_file
from segformer_ros.errors import reason
from segformer_ros.model.spec import ModelError
from segformer_ros.model.structure import (
    check_structure,
    fill,
    is_outside,
    outside_files,
    outside_places,
    tensors,
)

MOST_FIELDS = 500_000
"""Most fields in all messages of a protobuf; a SegFormer has some 20,000."""
MOST_UNFOLDED = 512 << 20
"""Most bytes that packed repeated fields may take in memory."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_PACKED = {3: 8, 4: 8, 5: 4, 13: 4, 17: 4, 18: 8}
"""Bytes of a value in memory, by FieldDescriptor.type, for types that are varints in a file."""


class _Message(NamedTuple):
    """Fields of a message type by number: sub-messages, and packed varints with their width."""

    messages: Dict[int, Any]
    packed: Dict[int, int]


def check_wire(data: Any, descriptor: Any) -> None:
    """Raises DocumentError for bytes that are not a protobuf message, or one of too many fields.

    Parsing it could take any amount of memory otherwise. data: bytes or a mapped file. descriptor:
    protobuf's descriptor of the message.
    """
    known: Dict[str, _Message] = {}
    left: List[Tuple[int, int, Any]] = [(0, len(data), descriptor)]
    fields = unfolded = 0
    while left:
        place, end, kind = left.pop()
        message = known.get(kind.full_name) or known.setdefault(kind.full_name, _fields(kind))
        while place < end:
            fields += 1
            if fields > MOST_FIELDS:
                raise DocumentError(f'it has more than {MOST_FIELDS} parts')
            tag, place = _varint(data, place, end)
            number, wire = tag >> 3, tag & 7
            if not number:
                raise DocumentError(f'it is damaged at byte {place}')
            if wire == _VARINT:
                _, place = _varint(data, place, end)
                continue
            if wire == _LENGTH:
                length, place = _varint(data, place, end)
                if number in message.messages:
                    left.append((place, place + length, message.messages[number]))
                unfolded += length * message.packed.get(number, 0)
            elif wire in _WIDTHS:
                length = _WIDTHS[wire]
            else:
                raise DocumentError(f'it is damaged at byte {place}')
            place += length
            if place > end:
                raise DocumentError(f'it is damaged or cut short at byte {place - length}')
        if unfolded > MOST_UNFOLDED:
            raise DocumentError(f'its numbers take more than {MOST_UNFOLDED} bytes')


def _fields(kind: Any) -> _Message:
    return _Message(
        {entry.number: entry.message_type for entry in kind.fields if entry.message_type},
        {entry.number: _PACKED[entry.type] for entry in kind.fields if entry.type in _PACKED},
    )


def _varint(data: Any, place: int, end: int) -> Tuple[int, int]:
    """The varint at an offset (seven bits a byte, the lowest first), and the offset behind it."""
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise DocumentError(f'it is damaged or cut short at byte {place}')


_BLOCK = 1 << 20


def file_hash(*paths: Path) -> str:
    """SHA-256 of the files' concatenated bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open('rb') as file:
            for block in iter(lambda: file.read(_BLOCK), b''):
                digest.update(block)
    return digest.hexdigest()


ONNX_SUFFIX = '.onnx'

MOST_BYTES = 1 << 30
"""Largest ONNX; a SegFormer-B5 has a third of that. Larger models have external data."""

_LFS_POINTER = b'version https://git-lfs'


_State = Tuple[int, ...]


class OnnxFacts(NamedTuple):
    """Cached facts about an ONNX that are needed again and again.

    outside: its external data, see `outside_places`. quantized: whether it has explicit
    quantisation (Q/DQ). half: whether it has FP16 weights.
    """

    outside: Dict[str, str]
    metadata: Dict[str, str]
    quantized: bool
    half: bool

    @classmethod
    def of(cls, model: Any) -> OnnxFacts:
        """The facts of a ModelProto."""
        weights = model.graph.initializer
        return cls(
            outside_places(model),
            {entry.key: entry.value for entry in model.metadata_props},
            any(node.op_type == 'QuantizeLinear' for node in model.graph.node),
            any(tensor.data_type == tensor.FLOAT16 for tensor in weights),
        )


_MOST_KNOWN = 32
_KNOWN: Dict[Path, Tuple[_State, OnnxFacts]] = {}
"""Facts of files that were read, each with the file's state then."""


def _state(status: os.stat_result) -> _State:
    """Identity of a file's content: it changes when the file is replaced or modified."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_onnx(path: Path) -> Any:
    """The ModelProto of a file, without its external data; raises ModelError."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ModelError(
            f'reading {path.name} needs the package onnx ({error}): pip install onnx'
        ) from error
    try:
        with open_file(path) as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise ModelError(
                    f'{path} is a Git LFS pointer, not the file itself; fetch it with '
                    '`git lfs pull`'
                )
            state = _state(os.fstat(file.fileno()))
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise DocumentError(f'it has {size} bytes; the limit is {MOST_BYTES}')
            if size:
                with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
                    check_wire(data, onnx.ModelProto.DESCRIPTOR)
            file.seek(0)
            model = onnx.load_from_string(file.read())
    except (DecodeError, UnicodeDecodeError, DocumentError) as error:
        raise ModelError(
            f'{path} is not an ONNX file, or cut short: {reason(error)}; export or copy it again'
        ) from error
    except OSError as error:
        raise ModelError(f'cannot read {path}: {reason(error)}; check the file') from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(f'{path} is not an ONNX file: it holds no network; give another')
    check_structure(path, model)
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[path] = (state, OnnxFacts.of(model))
    return model


def onnx_facts(path: Path) -> OnnxFacts:
    """The facts of a file, which is parsed only if it is new or has changed.

    Raises ModelError where it cannot be used.
    """
    known = _KNOWN.get(path)
    if known is not None and path.is_file() and known[0] == _state(path.stat()):
        return known[1]
    return OnnxFacts.of(read_onnx(path))


def read_whole_onnx(path: Path) -> Any:
    """The ModelProto of a file, with its external data loaded; raises ModelError."""
    model = read_onnx(path)
    try:
        for tensor in tensors(model):
            if is_outside(tensor):
                fill(path, tensor)
    except OSError as error:
        raise ModelError(f'cannot read the weights of {path}: {reason(error)}') from error
    return model


def model_files(model: Path) -> Tuple[Path, ...]:
    """A model's file, then those of an ONNX's external data, by name."""
    if model.suffix != ONNX_SUFFIX:
        return (model,)
    return (model, *weight_files(model))


def weight_files(model: Path) -> List[Path]:
    """Files of an ONNX's external data; raises ModelError where it cannot be used."""
    return outside_files(model, onnx_facts(model).outside)


def model_hash(model: Path) -> str:
    """SHA-256 of a model's concatenated files, in hexadecimal."""
    return file_hash(*model_files(model))
