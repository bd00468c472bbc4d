# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer benchmark: frames per second and milliseconds per stage on this machine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from tqdm import tqdm

from segformer_ros.cli.arguments import (
    LOCATION_HELP,
    add_model_arguments,
    add_upsampling_argument,
    model_spec,
    number,
    size,
    whole,
    wholes,
)
from segformer_ros.destination import DestinationError, output_file, refuse_overwriting, write_file
from segformer_ros.engines import EngineOptions, Wanted, create_engine
from segformer_ros.engines.cuda.launches import MAX_BATCH
from segformer_ros.engines.timing import (
    BatchResult,
    BenchmarkResult,
    as_json,
    as_markdown,
    as_text,
    benchmark,
    load_frames,
)
from segformer_ros.frame import Frame
from segformer_ros.model import Declared, ModelSpec, load_model
from segformer_ros.model.model_files import model_files
from segformer_ros.recordings import SAMPLE
from segformer_ros.resources import tool
from segformer_ros.text_table import format_table, markdown_table

SUMMARY = "time a model on this machine: the model card's table of frames per second by batch size"

FAMILY_SIZES = (224, 512, 1024)
"""Input sides of the published models."""

ALL = 'all'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_model_arguments(parser)
    parser.add_argument('--input', default=SAMPLE, help=LOCATION_HELP)
    parser.add_argument(
        '--frame-size',
        type=size,
        default='1920x1080',
        metavar='WxH',
        help='frames are scaled to this first (default: 1920x1080)',
    )
    parser.add_argument(
        '--batch', type=wholes(MAX_BATCH), default='1', help='batch sizes, as in 1,2,4'
    )
    parser.add_argument(
        '--seconds', type=number(0), default=5.0,
        help='seconds per batch size; 0 with --family: only parameters and multiplications',
    )  # fmt: skip
    add_upsampling_argument(parser)
    parser.add_argument('--confidence', action='store_true', help='also make the confidence map')
    parser.add_argument('--device', type=whole(0, 63), default=0, help='index of the GPU')
    parser.add_argument(
        '--family', nargs='?', const=ALL, metavar='NAMES',
        help='time the published SegFormers instead, with random weights: all, or those named',
    )  # fmt: skip
    parser.add_argument(
        '--sizes',
        type=wholes(),
        default=','.join(map(str, FAMILY_SIZES)),
        help='sides of the input, with --family',
    )
    parser.add_argument('--format', choices=FORMATS, default='text')
    parser.add_argument('--out', type=Path, help='file for the result (default: the terminal)')


def run(arguments: argparse.Namespace) -> int:
    """Time the model or the family, and print or write the table."""
    if arguments.out:
        output_file(arguments.out)
    if arguments.family:
        text = _family(arguments)
    else:
        spec = model_spec(arguments)
        if arguments.out:
            refuse_overwriting(model_files(spec.path), [arguments.out])
        text = FORMATS[arguments.format](_time(spec, arguments, _frames(arguments)))
    if not arguments.out:
        print(text)
        return 0
    try:
        write_file(arguments.out, text.encode())
    except DestinationError:
        print(text)  # the measurement took too long to be lost
        raise
    return 0


def _time(
    spec: ModelSpec, arguments: argparse.Namespace, frames: Sequence[Frame]
) -> BenchmarkResult:
    batches = arguments.batch
    options = EngineOptions(
        precision=arguments.precision,
        threads=arguments.threads,
        device=arguments.device,
        inference=arguments.inference,
        max_batch=max(batches),
    )
    wanted = Wanted(arguments.confidence, arguments.upsampling)
    with create_engine(spec, arguments.engine, options) as engine, tqdm(
        total=len(batches), desc=spec.path.stem, unit='batch size'
    ) as bar:
        return benchmark(engine, frames, batches, arguments.seconds, wanted, bar.update)


def _family(arguments: argparse.Namespace) -> str:
    """One row for each member, size and batch; without seconds, only parameters and GMACs."""
    rows: List[_Row] = []
    frames: Optional[List[Frame]] = None
    family = tool('family', 'the published SegFormers with random weights')
    names = family.FAMILY if arguments.family == ALL else arguments.family.split(',')
    for name in names:
        for side in arguments.sizes:
            member = family.family_model(name, (side, side))
            cost = {
                'model': name,
                'input': f'{side}x{side}',
                'M parameters': round(member.parameters / 1e6, 1),
                'GMACs': round(member.macs / 1e9, 1),
            }
            if arguments.seconds <= 0:
                rows.append((cost, None))
                continue
            frames = frames or _frames(arguments)
            result = _time_member(member, arguments, frames)
            facts = {name: result.facts.get(name, '') for name in ('engine', 'precision')}
            rows += [({**cost, **facts}, entry) for entry in result.batches]
    return FAMILY_FORMATS[arguments.format](rows)


_Row = Tuple[Dict[str, Any], Optional[BatchResult]]
"""A member of the family: its cost, and its speed at one batch size."""


def _time_member(
    member: Any, arguments: argparse.Namespace, frames: Sequence[Frame]
) -> BenchmarkResult:
    with TemporaryDirectory() as folder:
        path = member.write(Path(folder, f'{member.name}.onnx'))
        # The weights are random, so any normalisation will do.
        declared = Declared(mean=(127.5,) * 3, std=(127.5,) * 3, color='rgb')
        return _time(load_model(path, parameters=declared), arguments, frames)


def _frames(arguments: argparse.Namespace) -> List[Frame]:
    """Some frames of the recording at the requested size."""
    return load_frames(arguments.input, arguments.frame_size)


def _family_json(rows: List[_Row]) -> str:
    numbers = [{**cost, **(entry.as_json() if entry else {})} for cost, entry in rows]
    return json.dumps(numbers, indent=2)


def _family_text(rows: List[_Row]) -> str:
    return format_table(*_family_table(rows))


def _family_markdown(rows: List[_Row]) -> str:
    return markdown_table(*_family_table(rows)) + '\n'


def _family_table(rows: List[_Row]) -> Tuple[List[str], List[List[Any]]]:
    lines = [{**cost, **(entry.columns() if entry else {})} for cost, entry in rows]
    return list(lines[0]), [list(line.values()) for line in lines]


FORMATS: Dict[str, Callable[[BenchmarkResult], str]] = {
    'text': as_text,
    'json': lambda result: json.dumps(as_json(result), indent=2),
    'markdown': as_markdown,
}
FAMILY_FORMATS: Dict[str, Callable[[List[_Row]], str]] = {
    'text': _family_text,
    'json': _family_json,
    'markdown': _family_markdown,
}
