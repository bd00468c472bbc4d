# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer inspect: a model file's input and output, and whether frames suit it."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import List, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.cli.arguments import add_model_arguments, engine_of, model_spec
from segformer_ros.destination import output_file, write_image
from segformer_ros.documents import MAX_IMAGE_BYTES, DocumentError, read_bytes
from segformer_ros.drawing.overlay import Panel, blend, side_by_side
from segformer_ros.engines import Wanted
from segformer_ros.engines.self_check import as_rows, examine, self_check, steadiest
from segformer_ros.errors import one_line
from segformer_ros.formats import decode
from segformer_ros.frame import Frame, FrameError, Segmentation
from segformer_ros.model import Declared, ModelSpec, UnknownContractError
from segformer_ros.model.recognition import CONTRACTS, INPUT_SIZE
from segformer_ros.model.sidecar import sidecar_path
from segformer_ros.model.signature import read_signature
from segformer_ros.text_table import format_table

SUMMARY = 'say what a model file takes and gives, with a picture of one segmented frame'

DEFAULT_OUT = Path('out/inspect.png')

_HEADER = ('contract', 'confidence', 'entropy', 'change if darker', 'commonest class')
_PANEL_HEIGHT = 480
_PICTURE_SUFFIXES = ('.png', '.jpg')
_LONGEST_LIST = 10_000  # characters of all class names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        'file', nargs='?', metavar='FILE',
        help='ONNX file, DeepStream configuration, or tiny (default: the bundled model)',
    )  # fmt: skip
    parser.add_argument(
        '--image', type=Path, action='append', default=[], metavar='IMAGE',
        help='segment this frame, and check the contract with it; may be repeated',
    )  # fmt: skip
    parser.add_argument(
        '--out', type=Path, default=DEFAULT_OUT, metavar='FILE',
        help=f'picture of the first of these frames, segmented (default: {DEFAULT_OUT})',
    )  # fmt: skip
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what is known; the exit code is 1 if something looks wrong."""
    if arguments.file:
        arguments.model = arguments.file
    # An unreadable picture is reported before the model is loaded, which takes long.
    frames = [_read(path) for path in arguments.image]
    if frames:
        output_file(arguments.out, _PICTURE_SUFFIXES)
    try:
        spec = model_spec(arguments)
    except UnknownContractError as error:
        if not frames:
            raise
        return _compare_contracts(arguments, frames, error.contracts)
    print(format_table(('', ''), [*facts(spec), *origin(spec)]))
    print(f'\nclasses: {one_line(", ".join(spec.class_map.names), _LONGEST_LIST)}')
    for note in spec.notes:
        print(f'note: {one_line(note)}')
    if not frames:
        return 0
    with engine_of(arguments, spec) as engine:
        result = engine.segment([frames[0]], Wanted(confidence=True))[0]
    _draw(frames[0], result, spec, arguments.out)
    evidence, found = self_check(spec, frames, partial(engine_of, arguments))
    print(f'\n{format_table(_HEADER, as_rows(evidence))}')
    for line in found:
        print(f'looks wrong: {one_line(line)}')
    print(f'\n{arguments.out}: the segmented frame')
    return int(bool(found))


def _compare_contracts(
    arguments: argparse.Namespace, frames: Sequence[Frame], contracts: Sequence[str]
) -> int:
    """Print which of the possible contracts of a file suits the frames; the exit code is 1."""
    evidence = []
    for name in contracts:
        spec = model_spec(arguments, Declared('this check', contract=name))
        evidence.append(examine(name, spec, frames, partial(engine_of, arguments)))
    print(format_table(_HEADER, as_rows(evidence)))
    best = steadiest(evidence)
    if best is None:
        print('\nthe contract is unknown, and these frames do not decide it; give more of them')
    else:
        print(
            f'\nthe contract is unknown; masks are steadiest with {best}: if that is plausible, '
            f'put `contract: {best}` into {sidecar_path(spec.path)}'
        )
    return 1


def facts(spec: ModelSpec) -> List[Tuple[str, str]]:
    """What is known about a model, line by line."""
    batch = 'any' if spec.batch is None else str(spec.batch)
    size = f'{spec.size_in_words}{", others too" if spec.dynamic_size else ""}'
    normalisation = f'(pixel - {_numbers(spec.mean)}) / {_numbers(spec.std)}'
    own = spec.input_dtype == 'uint8'
    titles = {entry.name: f'{entry.name}: {entry.title}' for entry in CONTRACTS}
    lines = [
        ('file', str(spec.path)),
        ('contract', titles.get(spec.contract, spec.contract)),
        ('input', f'{spec.input_name}: {spec.input_layout} {spec.input_dtype}, batch {batch}'),
        ('size', size),
        ('colours', f'{spec.color}, {"normalised in the graph" if own else normalisation}'),
        ('fit', spec.fit),
        ('output', _output(spec)),
        ('class map', f'{spec.class_map.name}, {len(spec.class_map)} classes'),
    ]
    if spec.threshold:
        lines.append(('threshold', f'{spec.threshold:g}; pixels below it carry no class'))
    if spec.engine_file:
        lines.append(('engine file', str(spec.engine_file)))
    return lines


def _output(spec: ModelSpec) -> str:
    name = f'{" and ".join(spec.heads)}, joined' if spec.heads else spec.output_name
    cell = '' if spec.dynamic_size else f', 1/{spec.stride} of the size' * (spec.stride > 0)
    return f'{name}: {spec.output_kind}, {spec.output_layout}{cell}'


def origin(spec: ModelSpec) -> List[Tuple[str, str]]:
    """What an ONNX file says about its origin, line by line."""
    if spec.built or not spec.path.is_file():
        return []  # a built engine, or the fake one
    signature = read_signature(spec.path)
    return [
        ('made by', f'{signature.producer or "unknown"}, opset {signature.opset}'),
        *(('graph takes', str(entry)) for entry in signature.inputs),
        *(('graph gives', str(entry)) for entry in signature.outputs),
        # The input size is shown above as width x height; the metadata has the height first.
        *sorted(item for item in signature.metadata.items() if item[0] != INPUT_SIZE),
    ]


def _numbers(values: Tuple[float, ...]) -> str:
    return f'({", ".join(f"{value:g}" for value in values)})'


def _read(path: Path) -> Frame:
    try:
        data = np.frombuffer(read_bytes(path, MAX_IMAGE_BYTES), np.uint8)
        return Frame.from_array(decode(data, path.suffix))
    except (FrameError, DocumentError) as error:
        raise FrameError(f'{path}: {error}') from error


def _draw(frame: Frame, result: Segmentation, spec: ModelSpec, path: Path) -> None:
    """Write camera, overlay and confidence side by side."""
    image = frame.bgr()
    panels = [
        Panel('camera', image),
        Panel('segmentation', blend(image, result.labels, spec.class_map.palette_bgr)),
    ]
    if result.confidence is not None:
        confidence = cv2.applyColorMap(result.confidence, cv2.COLORMAP_VIRIDIS)
        panels.append(Panel('confidence', np.asarray(confidence)))
    write_image(path, side_by_side(panels, _PANEL_HEIGHT))
