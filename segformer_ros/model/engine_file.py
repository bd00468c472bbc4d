"""Engine file: a built engine without its ONNX, described by what is declared of it."""

from __future__ import annotations

from pathlib import Path

from segformer_ros.model.contracts import CONTRACTS
from segformer_ros.model.declared import Declared
from segformer_ros.model.graph import Signature, TensorSignature
from segformer_ros.model.spec import ModelError

ENGINE_SUFFIXES = ('.engine', '.plan', '.trt')

STRIDE = 4
"""Pixels for each cell of a SegFormer's logits."""


def described_signature(engine: Path, declared: Declared) -> Signature:
    """Signature that an engine must have by what is declared; raises ModelError where it is not.

    Nothing is read from the file: it opens on the GPU alone that it was built for, and there its
    names and types are checked.
    """
    known = {entry.name: entry for entry in CONTRACTS}
    if declared.contract not in known or declared.size is None:
        raise ModelError(
            f'{engine} is a built engine and does not say what it wants; give the ONNX file that '
            'it was built from, or a DeepStream configuration with both onnx-file and '
            f'model-engine-file, or say contract and size in a sidecar {engine.name}.yaml'
        )
    contract = known[declared.contract]
    height, width = declared.size
    labels = 'labels' in contract.output_kinds
    cell = 1 if labels else STRIDE
    sides = {'N': None, 'C': 1 if labels else declared.class_count}
    sides.update(H=height // cell, W=width // cell)
    name = declared.output_name or 'output'
    return Signature(
        path=engine,
        inputs=(TensorSignature(contract.input_name, 'float32', (None, 3, height, width)),),
        outputs=(
            TensorSignature(
                name,
                'int32' if labels else 'float32',
                tuple(sides[axis] for axis in declared.output_layout or 'NCHW'),
            ),
        ),
        last_ops={},
        class_counts={},
        opset=0,
        producer='',
        metadata={},
    )
