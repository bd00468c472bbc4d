"""Loading: from a path to a ModelSpec, by what the file says and what is declared of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

from segformer_ros.classes import ClassMap, SegClass, load_class_map, spread_color
from segformer_ros.documents import FieldError
from segformer_ros.model.contracts import (
    CONTRACT,
    CONTRACTS,
    INPUT_SIZE,
    METADATA,
    OWN,
    Contract,
    Shape,
    read_shape,
)
from segformer_ros.model.declared import MOST_FRAMES, Declared, combine, input_size
from segformer_ros.model.deepstream import is_deepstream_config, read_deepstream_config
from segformer_ros.model.graph import Signature, TensorSignature, read_signature
from segformer_ros.model.sidecar import find_sidecar, read_sidecar
from segformer_ros.model.spec import ENGINE_SUFFIXES, STRIDE, ModelError, ModelSpec, check_size
from segformer_ros.resources import share_path


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


BUNDLED_MODEL = 'models/segformer_street.onnx'

DEFAULT_SIZE = (512, 512)
"""(height, width) of a graph of any size that nobody says more of."""

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
"""Other files that models come in, and what to do with them."""


def bundled_model() -> Path:
    """The SegFormer that comes with the package."""
    return share_path(BUNDLED_MODEL)


def load_model(
    path: Union[str, Path, None] = None,
    class_map: Optional[ClassMap] = None,
    parameters: Declared = Declared(),
) -> ModelSpec:
    """Recognise a model: an ONNX file, a built engine, or a configuration that names one.

    path: None or '' takes the bundled model. class_map: used in place of any other.
    parameters: what the caller says of the model; a sidecar yaml beside the file and a DeepStream
    configuration are trusted before it. Raises ModelError in words: where the file does not tell
    and two contracts fit, none is guessed.
    """
    file = Path(path) if path else bundled_model()
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
    declared = combine([*declarations, parameters])
    if file.suffix in ENGINE_SUFFIXES:
        described = described_signature(file, declared)
        return recognise(described, replace(declared, engine_file=file), class_map)
    return recognise(read_signature(file), declared, class_map)


def recognise(
    signature: Signature, declared: Declared = Declared(), class_map: Optional[ClassMap] = None
) -> ModelSpec:
    """ModelSpec of a signature and of what is declared beside it; raises ModelError."""
    own = signature.metadata.get(CONTRACT)
    if own == OWN:
        declared = combine([_own_declaration(signature), declared])
    shape = read_shape(signature, declared.output_name, declared.output_kind)
    _check_layout(signature, shape, declared)
    contract = _contract(signature, shape, declared)
    notes = list(declared.notes)
    size = _size(signature, shape, declared, contract.default_size, notes)
    if shape.batch is not None and shape.batch > MOST_FRAMES:
        raise ModelError(
            f'{signature.path} takes {shape.batch} frames at once; export it with a free batch, '
            f'or one of {MOST_FRAMES} at most'
        )
    color = declared.color or contract.color
    order = 1 if color == contract.color else -1
    return ModelSpec(
        path=signature.path,
        contract=contract.name,
        class_map=_class_map(signature, shape, declared, class_map, notes),
        size=size,
        batch=shape.batch,
        input_name=shape.input.name,
        input_layout=shape.input_layout,
        input_dtype=shape.input.dtype,
        color=color,
        mean=declared.mean or contract.mean[::order],
        std=declared.std or contract.std[::order],
        output_name=shape.output.name,
        output_kind=shape.output_kind,
        output_layout=shape.output_layout,
        fit=declared.fit or 'stretch',
        threshold=declared.threshold or 0.0,
        dynamic_size=None in shape.size,
        engine_file=declared.engine_file,
        precision=declared.precision,
        max_batch=declared.max_batch,
        notes=tuple(notes),
    )


def _check_kind(file: Path) -> None:
    if file.suffix in _WAYS_OUT:
        raise ModelError(f'{file} {_WAYS_OUT[file.suffix]}')


def _own_declaration(signature: Signature) -> Declared:
    """What a model of this project says of itself; its normalisation is inside its graph."""
    metadata = signature.metadata
    size = metadata.get(INPUT_SIZE, '')
    height, _, width = size.partition('x')
    sides: Optional[Tuple[int, int]] = None
    if size:
        try:
            sides = input_size((height, width))
        except FieldError as error:
            raise ModelError(
                f'{signature.path}: metadata input_size {size!r} is not HEIGHTxWIDTH in pixels'
            ) from error
    return Declared(
        origin='its own metadata',
        contract=OWN,
        color='bgr',
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        fit=metadata.get(f'{METADATA}fit'),
        size=sides,
        classes=metadata.get(f'{METADATA}classes'),
    )


def _check_layout(signature: Signature, shape: Shape, declared: Declared) -> None:
    if declared.input_layout not in (None, shape.input_layout):
        raise ModelError(
            f'{signature.path}: input {shape.input} is {shape.input_layout}, but '
            f'{declared.origin} says {declared.input_layout}; mend input_layout'
        )
    wanted = declared.output_layout
    if wanted and shape.output_kind != 'labels' and wanted != shape.output_layout:
        raise ModelError(
            f'{signature.path}: output {shape.output} is {shape.output_layout}, but '
            f'{declared.origin} says {wanted}; mend segmentation-output-order'
        )


def _contract(signature: Signature, shape: Shape, declared: Declared) -> Contract:
    """The one contract of a network; raises ModelError where there is not exactly one."""
    known = {entry.name: entry for entry in CONTRACTS}
    if declared.contract in known:
        contract = known[declared.contract]
        if not contract.allows(shape):
            raise ModelError(
                f'{signature.path}: output {shape.output} holds {shape.output_kind}, as no model '
                f'of contract {contract.name} does ({contract.title}); mend {declared.origin}, '
                'or say color, mean and std instead'
            )
        return contract
    fitting = [entry for entry in CONTRACTS if entry.fits(shape)]
    if len(fitting) == 1 and not declared.contract:
        return fitting[0]
    if declared.color and declared.mean and declared.std:
        return Contract(
            name=declared.contract or 'declared',
            title='as declared',
            input_name=shape.input.name,
            output_kinds=(shape.output_kind,),
            color=declared.color,
            mean=declared.mean,
            std=declared.std,
            default_size=DEFAULT_SIZE,
        )
    if declared.contract:
        raise ModelError(
            f'no contract {declared.contract!r}; use one of {", ".join(known)}, or say color, '
            'mean and std'
        )
    raise ModelError(
        f'{signature.path}: input {shape.input} and output {shape.output} do not tell which '
        'colours and statistics the network was trained with; say it in a sidecar '
        f'{signature.path.name}.yaml: `contract: {"|".join(known)}`, or color, mean and std'
    )


def _size(
    signature: Signature,
    shape: Shape,
    declared: Declared,
    default: Tuple[int, int],
    notes: List[str],
) -> Tuple[int, int]:
    if declared.size is None and None in shape.size:
        notes.append(
            f'the graph takes any size; {default[1]}x{default[0]} (width x height) was taken'
        )
    wanted = declared.size or default
    size = tuple(side if fixed is None else fixed for side, fixed in zip(wanted, shape.size))
    if declared.size and size != declared.size:
        raise ModelError(
            f'{signature.path} takes {size[1]}x{size[0]} pixels, but {declared.origin} says '
            f'{wanted[1]}x{wanted[0]} (width x height); are the sides swapped?'
        )
    try:
        height, width = input_size(size)
    except FieldError as error:
        raise ModelError(
            f'{signature.path}: the size {size} of its input {error.words}'
        ) from error
    if None in shape.size:
        check_size((height, width))
    return height, width


def _class_map(
    signature: Signature,
    shape: Shape,
    declared: Declared,
    given: Optional[ClassMap],
    notes: List[str],
) -> ClassMap:
    """The class map that is given, declared, or fits the number of classes."""
    count = shape.class_count or declared.class_count
    if declared.class_count not in (None, count):
        raise ModelError(
            f'{signature.path} has {count} classes, but {declared.origin} says '
            f'{declared.class_count}; mend num-detected-classes'
        )
    class_map = given or (load_class_map(declared.classes) if declared.classes else None)
    if class_map is None:
        if count is None:
            notes.append('the file does not say how many classes it has; Cityscapes was taken')
        if count in (None, 19):
            return load_class_map('cityscapes')
        notes.append(f'no names are known for its {count} classes; give a class map')
        return _numbered(count or 0)
    if count is not None and len(class_map) != count:
        raise ModelError(
            f'{signature.path} has {count} classes, but class map {class_map.name!r} has '
            f'{len(class_map)}; give the labels file that belongs to the model'
        )
    return class_map


def _numbered(count: int) -> ClassMap:
    entries: Sequence[SegClass] = [
        SegClass(index, f'class {index}', spread_color(index, count)) for index in range(count)
    ]
    return ClassMap(f'{count} classes', tuple(entries))
