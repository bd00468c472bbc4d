# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Builds the TensorRT engine of every published SegFormer, of random weights, for a named GPU.

`python -m tools.benchmarks.family_builds --sm 89` needs no GPU: TensorRT-RTX builds for another.
What the table shows is that each graph is taken whole, in how long, how large, and in which
arithmetic; how fast an engine is only its GPU can tell.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tqdm import tqdm

from segformer_ros.cli.arguments import whole
from segformer_ros.engines import EngineOptions
from segformer_ros.engines.precision import choose_precision
from segformer_ros.engines.timing import load_frames
from segformer_ros.engines.trt.adapter import load_tensorrt
from segformer_ros.engines.trt.builder import MIB
from segformer_ros.engines.trt.engine_loading import build_apart
from segformer_ros.model import Declared, ModelSpec, load_model
from segformer_ros.quantization.quantizer import quantize_unjudged
from segformer_ros.recordings import SAMPLE
from segformer_ros.text_table import format_table
from tools.family import FAMILY, family_model

SIZES = (512,)
COLUMNS = ('model', 'size', 'ONNX MiB', 'engine MiB', 'build s', 'layers')


def build_member(name: str, size: int, sm: int, precision: str, folder: Path) -> tuple[str, ...]:
    """One row of the table: a member for size x size images, built for a compute capability."""
    onnx = family_model(name, (size, size)).write(folder / f'{name}.onnx')
    spec = load_model(onnx)
    if precision == 'int8':
        spec = _quantized(spec, folder)
    library = load_tensorrt(('tensorrt_rtx',))
    options = EngineOptions(precision=precision)
    candidate = choose_precision(precision, spec, sm)[0]
    built, _ = build_apart(library, spec, options, candidate, sm)
    return (
        name,
        f'{size}x{size}',
        f'{onnx.stat().st_size / MIB:.0f}',
        f'{len(built.plan) / MIB:.0f}',
        f'{built.seconds:.0f}',
        built.layers.summary(),
    )


def _quantized(spec: ModelSpec, folder: Path) -> ModelSpec:
    """A member in INT8; its weights are random, so that the ranges of one frame will do."""
    model = quantize_unjudged(spec, load_frames(SAMPLE, spec.size, 1))
    path = folder / f'{spec.path.stem}.int8.onnx'
    path.write_bytes(model.SerializeToString())
    return load_model(path, parameters=Declared(contract=spec.contract))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog='python -m tools.benchmarks.family_builds', description=__doc__
    )
    parser.add_argument(
        '--sm', type=whole(50), default=89, help='compute capability (default: 89)'
    )
    parser.add_argument('--precision', default='fp16', help='default: fp16')
    parser.add_argument(
        '--sizes', type=whole(32), nargs='+', default=SIZES, help='of square images'
    )
    options = parser.parse_args()
    jobs = [(name, size) for size in options.sizes for name in FAMILY]
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            build_member(name, size, options.sm, options.precision, Path(folder))
            for name, size in tqdm(jobs, unit='engine')
        ]
    print(format_table(COLUMNS, rows))


if __name__ == '__main__':
    main()
