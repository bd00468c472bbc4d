"""Files of a model: the ONNX, and those that its weights lie in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

from segformer_ros.model.checksum import file_hash

ONNX_SUFFIX = '.onnx'


def model_files(model: Path) -> Tuple[Path, ...]:
    """A model's file, and behind it those that an ONNX keeps its weights in, by name."""
    if model.suffix != ONNX_SUFFIX:
        return (model,)
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    outside = {external_data(tensor).get('location', '') for tensor in graph.initializer}
    return (model, *(model.parent / name for name in sorted(outside - {''})))


def model_hash(model: Path) -> str:
    """SHA-256 of a model's files, one behind the other, in hexadecimal."""
    return file_hash(*model_files(model))


def external_data(tensor: Any) -> Dict[str, str]:
    """Where an ONNX tensor's values lie outside the file ('location', 'offset', 'length')."""
    return {entry.key: entry.value for entry in tensor.external_data}
