"""Files of a model: the ONNX, and those that its weights lie in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

from segformer_ros.errors import reason
from segformer_ros.model.checksum import file_hash
from segformer_ros.model.spec import ModelError

ONNX_SUFFIX = '.onnx'

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
        with path.open('rb') as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise ModelError(
                    f'{path} is a Git LFS pointer, not the file itself; fetch it with '
                    '`git lfs pull`'
                )
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, UnicodeDecodeError) as error:
        raise ModelError(
            f'{path} is not an ONNX file, or cut short: {error}; export or copy it again'
        ) from error
    except OSError as error:
        raise ModelError(f'cannot read {path}: {reason(error)}; check the file') from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(f'{path} is not an ONNX file: it holds no network; give another')
    return model


def model_files(model: Path) -> Tuple[Path, ...]:
    """A model's file, and behind it those that an ONNX keeps its weights in, by name."""
    if model.suffix != ONNX_SUFFIX:
        return (model,)
    graph = read_onnx(model).graph
    outside = {external_data(tensor).get('location', '') for tensor in graph.initializer}
    return (model, *(model.parent / name for name in sorted(outside - {''})))


def model_hash(model: Path) -> str:
    """SHA-256 of a model's files, one behind the other, in hexadecimal."""
    return file_hash(*model_files(model))


def external_data(tensor: Any) -> Dict[str, str]:
    """Where an ONNX tensor's values lie outside the file ('location', 'offset', 'length')."""
    return {entry.key: entry.value for entry in tensor.external_data}
