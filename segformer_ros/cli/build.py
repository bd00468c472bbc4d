# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer build: builds the TensorRT engine of a model before it is needed."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Dict, Optional

from tqdm import tqdm

from segformer_ros.cli.arguments import whole
from segformer_ros.destination import output_file, refuse_overwriting, write_file
from segformer_ros.engines import EngineError, EngineOptions, Progress, create_engine
from segformer_ros.engines.cuda.driver import Gpu, current_gpu, select_gpu
from segformer_ros.engines.cuda.launches import MAX_BATCH
from segformer_ros.engines.precision import PRECISIONS, choose_precision
from segformer_ros.engines.trt.adapter import load_tensorrt
from segformer_ros.engines.trt.builder import MIB, BuiltEngine
from segformer_ros.engines.trt.engine_loading import (
    NOWHERE,
    build_apart,
    dla_facts,
    parsed_network,
)
from segformer_ros.model import ModelSpec, load_model
from segformer_ros.model.model_files import model_files
from segformer_ros.model.onnx_network import save_network
from segformer_ros.model.sidecar import write_sidecar
from segformer_ros.text_table import format_table

_REDRAW = 0.5
"""Seconds between two updates of the progress bar."""

SUMMARY = 'build the TensorRT engine of a model for this GPU, or for another'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        'model', nargs='?', default='', metavar='MODEL',
        help='ONNX file, DeepStream configuration, or tiny (default: the bundled model)',
    )  # fmt: skip
    parser.add_argument('--precision', choices=PRECISIONS, default='auto')
    parser.add_argument(
        '--max-batch', type=whole(1, MAX_BATCH), default=1,
        help='most frames (or windows) in one call, for a node its number of cameras '
        f'(default: 1); `segment` and `evaluate` look for {EngineOptions().max_batch}',
    )  # fmt: skip
    parser.add_argument(
        '--workspace', type=whole(1), default=EngineOptions().workspace_mib, metavar='MIB',
        help='initial limit of scratch memory; halved if memory runs out',
    )  # fmt: skip
    parser.add_argument(
        '--dla-core', type=whole(-1, 7), default=-1, metavar='N',
        help='the DLA of a Jetson that takes the layers that it can, one frame at a time '
        '(default: -1, none)',
    )  # fmt: skip
    parser.add_argument('--device', type=whole(0, 63), default=0, help='index of the GPU')
    parser.add_argument(
        '--cache-dir',
        type=Path,
        help="folder for built engines (default: the user's cache folder)",
    )
    apart = parser.add_argument_group('without touching the cache')
    apart.add_argument('--build-only', action='store_true', help='write the engine only to --out')
    apart.add_argument('--out', type=Path, metavar='FILE', help='file of the engine')
    apart.add_argument(
        '--sm', type=whole(50, 999), metavar='NN',
        help='compute capability of another GPU (75, 80, 86, 89, 120); with TensorRT-RTX, which '
        'needs no GPU for this',
    )  # fmt: skip
    apart.add_argument(
        '--onnx', type=Path, metavar='FILE',
        help='write the ONNX that TensorRT would parse (float pixels in), and build nothing',
    )  # fmt: skip
    apart.add_argument(
        '--typed', action='store_true',
        help='with --onnx: FP16 in the graph, as TensorRT 11 and TensorRT-RTX need it',
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Build the engine, and print what was built."""
    spec = load_model(arguments.model)
    options = EngineOptions(
        precision=arguments.precision,
        device=arguments.device,
        cache_dir=arguments.cache_dir,
        max_batch=arguments.max_batch,
        workspace_mib=arguments.workspace,
        dla_core=arguments.dla_core,
    )
    spec.require_graph()
    _check_combination(arguments)
    if arguments.onnx:
        facts = _write_onnx(spec, arguments)
    elif spec.batch and arguments.max_batch > spec.batch:
        raise EngineError(
            f'{spec.path} takes {spec.batch} frames at once, not {arguments.max_batch}; export it '
            'with a dynamic batch, or leave --max-batch out'
        )
    elif arguments.build_only or arguments.out or arguments.sm:
        facts = _build_file(spec, options, arguments)
    else:
        facts = _build_cached(spec, options)
    print(format_table(('', ''), list(facts.items())))
    return 0


def _check_combination(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if arguments.typed and not arguments.onnx:
        raise EngineError('--typed is for --onnx FILE; engines always get the types they need')
    if arguments.onnx and (arguments.out or arguments.build_only or arguments.sm):
        raise EngineError(
            '--onnx builds nothing, so --out, --build-only and --sm have no effect with it; give '
            'one or the other'
        )


def _build_cached(spec: ModelSpec, options: EngineOptions) -> Dict[str, str]:
    """Build into the cache, where a node with as many cameras as the batch finds it."""
    engine = create_engine(spec, 'tensorrt', options)
    engine.progress = _Bar()
    with engine:
        facts = engine.facts()
    if facts.get('kept in') == NOWHERE:
        raise EngineError('the engine could not be kept; name another folder with --cache-dir')
    return facts


def _build_file(
    spec: ModelSpec, options: EngineOptions, arguments: argparse.Namespace
) -> Dict[str, str]:
    """Build for this GPU or for another, into a file."""
    out: Optional[Path] = arguments.out
    if out is None:
        raise EngineError('--build-only and --sm need --out FILE, the file for the engine')
    if options.precision == 'fastest':
        raise EngineError(
            'precision fastest is found by timing engines on their own GPU, in its cache; with '
            '--out or --sm, name one'
        )
    refuse_overwriting(model_files(spec.path), [output_file(out)])
    gpu: Optional[Gpu] = None
    if arguments.sm:
        library = load_tensorrt(('tensorrt_rtx',))
        sm = arguments.sm
    else:
        # First: TensorRT may crash without a driver.
        gpu = _gpu(options.device)
        library, sm = load_tensorrt(), gpu.sm
    candidate = choose_precision(options.precision, spec, sm)[0]
    with current_gpu(gpu) if gpu else nullcontext():
        built, made = build_apart(library, spec, options, candidate, arguments.sm, _Bar())
    write_file(out, built.plan, 0o600)
    sidecar = write_sidecar(made, out)
    return {
        'engine file': f'{out} ({len(built.plan) / MIB:.1f} MiB)',
        'sidecar': str(sidecar),
        'for': gpu.label if gpu else f'sm_{sm}',
        'precision': f'{candidate.precision} ({candidate.reason})',
        'layers': built.layers.summary(),
        **dla_facts(options, built, named=True),
        'batches': _range(built.batches[0], built.batches[2]),
        'tensorrt': library.version,
        'build': _words(built),
    }


def _gpu(index: int) -> Gpu:
    try:
        return select_gpu(index)
    except EngineError as error:
        raise EngineError(f'{error}; --sm NN builds for a GPU in another machine') from error


def _write_onnx(spec: ModelSpec, arguments: argparse.Namespace) -> Dict[str, str]:
    refuse_overwriting(model_files(spec.path), [output_file(arguments.onnx)])
    # Any GPU with fast INT8 will do: 'auto' is then INT8 if there is an INT8 model.
    candidate = choose_precision(arguments.precision, spec, sm=87)[0]
    network = parsed_network(spec, candidate, arguments.typed, keep_io=True)
    sidecar = save_network(network, arguments.onnx)
    return {
        'onnx': str(arguments.onnx),
        'sidecar': str(sidecar),
        'precision': candidate.precision,
        'input': f'{network.spec.input_name} {network.spec.input_layout} of '
        f'{network.spec.size_in_words}',
    }


def _range(least: int, most: int) -> str:
    return f'{least} to {most}' if least < most else str(least)


def _words(built: BuiltEngine) -> str:
    return f'{built.seconds:.0f} s, workspace {built.workspace // MIB} MiB'


class _Bar(Progress):
    """A progress bar for the outermost phase, the build, with the name of the inner one."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase = ''

    def __call__(self, phase: str, step: int, steps: int) -> None:
        if self._bar is None:
            self._phase = phase
            # Redraws rarely, as there are thousands of inner steps, and it may go to a log file.
            self._bar = tqdm(total=steps, desc='build', miniters=0, mininterval=_REDRAW)
        if phase != self._phase:
            self._bar.set_postfix_str(phase[:40], refresh=False)
            self._bar.update(0)
            return
        self._bar.update(step - self._bar.n)
        if step >= steps:
            self._bar.close()
