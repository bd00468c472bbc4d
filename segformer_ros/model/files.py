"""Files of a model: the ONNX, and those that its weights lie in."""

from __future__ import annotations

import os
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Tuple

from segformer_ros.documents import DocumentError, open_file
from segformer_ros.errors import reason
from segformer_ros.model.checksum import file_hash
from segformer_ros.model.spec import ModelError
from segformer_ros.model.structure import check_structure, fill, is_outside, outside_files, tensors
from segformer_ros.model.wire import check_wire

ONNX_SUFFIX = '.onnx'

MOST_BYTES = 1 << 30
"""Of an ONNX; that of a SegFormer-B5 has a third of it. Greater ones keep their weights beside."""

_LFS_POINTER = b'version https://git-lfs'


def read_onnx(path: Path) -> Any:
    """The ModelProto of a file, without weights that lie outside; raises ModelError."""
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
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise DocumentError(f'it has {size} bytes, and {MOST_BYTES} are the most')
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
    return model


def read_whole_onnx(path: Path) -> Any:
    """The ModelProto of a file with the weights that lie outside; raises ModelError."""
    model = read_onnx(path)
    try:
        for tensor in tensors(model):
            if is_outside(tensor):
                fill(path, tensor)
    except OSError as error:
        raise ModelError(f'cannot read the weights of {path}: {reason(error)}') from error
    return model


def model_files(model: Path) -> Tuple[Path, ...]:
    """A model's file, and behind it those that an ONNX keeps its weights in, by name."""
    if model.suffix != ONNX_SUFFIX:
        return (model,)
    return (model, *outside_files(model, read_onnx(model)))


def model_hash(model: Path) -> str:
    """SHA-256 of a model's files, one behind the other, in hexadecimal."""
    return file_hash(*model_files(model))
