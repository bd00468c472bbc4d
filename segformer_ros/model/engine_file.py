"""Engine file: a built engine without its ONNX, described by what is declared of it."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

from segformer_ros.classes import load_class_map
from segformer_ros.model.contracts import CONTRACTS
from segformer_ros.model.declared import Declared
from segformer_ros.model.graph import Signature, TensorSignature
from segformer_ros.model.spec import STRIDE, ModelError


def described_signature(engine: Path, declared: Declared) -> Signature:
    """Signature that an engine must have by what is declared; raises ModelError where it is not.

    Nothing is read from the file: it opens on the GPU alone that it was built for, and there its
    names and types are checked.
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
    # The name of the one input is not used, but is one by which contracts are known.
    name = contract.input_name if contract else 'image'
    of_contract = contract.output_kinds[0] if contract else ''
    labels = (declared.output_kind or of_contract) == 'labels'
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
        last_ops={},
        class_counts={},
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
    """Classes of the scores, by their class map where nothing else says."""
    if declared.class_count is None and declared.classes:
        return len(load_class_map(declared.classes))
    return declared.class_count
