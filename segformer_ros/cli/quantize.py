# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer quantize: makes an INT8 model, and keeps it only if it is accurate enough."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Callable, List, NamedTuple, Tuple

from tqdm import tqdm

from segformer_ros.cli.arguments import MAX_THREADS, add_label_arguments, number, whole
from segformer_ros.destination import output_file, refuse_overwriting, write_file
from segformer_ros.engines.precision import Candidate
from segformer_ros.engines.trt.engine_loading import parsed_network
from segformer_ros.evaluation.label_survey import survey
from segformer_ros.model import ModelSpec, load_model
from segformer_ros.model.model_files import model_files
from segformer_ros.model.onnx_network import save_network
from segformer_ros.model.recognition import OWN
from segformer_ros.model.sidecar import quantized_path, report_path, sidecar_path, write_sidecar
from segformer_ros.quantization.accuracy_gate import (
    Gate,
    QuantizationError,
    collect_samples,
    too_few,
    too_few_labels,
)
from segformer_ros.quantization.qdq import require_modelopt
from segformer_ros.quantization.quantization_report import (
    advice,
    as_json,
    as_markdown,
    half_advice,
)
from segformer_ros.quantization.quantizer import (
    BACKENDS,
    QuantizationSettings,
    Quantized,
    quantize,
)
from segformer_ros.recordings import SourceOptions, open_source

_LOOSE = 0.05
"""Mean IoU. A larger --loss is most likely meant in points."""

SUMMARY = 'make the INT8 (and FP16) version of a model, calibrated and judged on real frames'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument('model', metavar='MODEL.onnx')
    parser.add_argument(
        '--calibrate', required=True, nargs='+', metavar='BAG|VIDEO|FOLDER',
        help='frames from where the robot drives; some are held out to judge the result by',
    )  # fmt: skip
    parser.add_argument(
        '--judge', nargs='+', default=[], metavar='BAG|VIDEO|FOLDER',
        help='frames to judge by, instead of those held out',
    )  # fmt: skip
    parser.add_argument(
        '--labels', type=Path, help='folder of label images for the frames to judge by'
    )
    add_label_arguments(parser)
    parser.add_argument('--topic', default='', help='image topic of a bag with several cameras')
    parser.add_argument(
        '--out',
        type=Path,
        metavar='M.int8.onnx',
        help='the INT8 model (default: NAME.int8.onnx beside the model)',
    )
    parser.add_argument(
        '--backend', choices=BACKENDS, default='own',
        help='who chooses what is rounded and how: this package, or nvidia-modelopt (an extra)',
    )  # fmt: skip
    parser.add_argument(
        '--ranges', choices=BACKENDS['own'],
        help='how ranges are chosen (default: percentile; of modelopt, which lacks it, entropy)',
    )  # fmt: skip
    parser.add_argument(
        '--percent',
        type=number(0, 100, above=True),
        default=99.99,
        help='share of values that percentile keeps, %%',
    )
    parser.add_argument(
        '--frames', type=whole(1), default=64, help='number of frames to calibrate with'
    )
    parser.add_argument(
        '--held-out', type=whole(1), default=32, help='number of frames to judge by'
    )
    gate = parser.add_argument_group('the gate')
    gate.add_argument(
        '--agreement', type=number(0, 1), default=Gate().agreement,
        help='without --labels: mean IoU with the FP32 masks that must be reached',
    )  # fmt: skip
    gate.add_argument(
        '--loss',
        type=number(0, 1),
        default=Gate().loss,
        help='with --labels: mean IoU that may be lost (0.005 is half a point)',
    )
    parser.add_argument(
        '--sensitivity',
        action='store_true',
        help="measure every layer's own cost, even if the gate is passed",
    )
    parser.add_argument(
        '--half', action='store_true',
        help='also write NAME.fp16.onnx and NAME.int8.fp16.onnx beside --out: float pixels in, '
        'and the types in the graph, as TensorRT 11 and TensorRT-RTX need it',
    )  # fmt: skip
    parser.add_argument(
        '--threads', type=whole(0, MAX_THREADS), default=0, help='CPU threads; 0: all'
    )


class _Places(NamedTuple):
    """Paths of the results: the INT8 model, its report, and with --half those with FP16."""

    model: Path
    report: Tuple[Path, Path]
    fp16: Tuple[Path, ...]

    @classmethod
    def beside(cls, model: Path, fp16: bool) -> _Places:
        """Those that go with the file of an INT8 model."""
        report = report_path(model), model.with_suffix('.md')
        suffixes = ('.fp16.onnx', '.int8.fp16.onnx') if fp16 else ()
        return cls(model, report, tuple(_beside(model, suffix) for suffix in suffixes))


def run(arguments: argparse.Namespace) -> int:
    """Quantise, judge, write model and report; exit code 1 where the gate is not passed."""
    spec = load_model(arguments.model)
    spec.require_graph()
    ranges = _ranges(arguments)
    options = SourceOptions(
        topic=arguments.topic,
        labels=arguments.labels,
        label_ids=arguments.label_ids,
        label_colors=arguments.label_colors,
    )
    sources, judged = (
        [open_source(location, options) for location in locations]
        for locations in (arguments.calibrate, arguments.judge)
    )
    out = output_file(arguments.out or quantized_path(spec.path), ('.onnx',))
    places = _Places.beside(out, arguments.half)
    refuse_overwriting(model_files(spec.path), [places.model, *places.report, *places.fp16])
    classes = spec.class_map if arguments.labels else None
    samples = collect_samples(sources, arguments.frames, arguments.held_out, judged, classes)
    warnings = [too_few(samples)]
    if arguments.labels:
        for source in judged or sources:
            warnings += survey(source, spec.class_map, options)
        warnings.append(too_few_labels(samples.held_out, len(spec.class_map)))
        warnings.append(_too_loose(arguments.loss))
    for warning in filter(None, warnings):
        print(f'warning: {warning}', file=sys.stderr)
    settings = QuantizationSettings(
        ranges,
        arguments.percent,
        Gate(arguments.agreement, arguments.loss),
        arguments.sensitivity,
        arguments.threads,
        arguments.backend,
    )
    quantized = quantize(spec, samples, settings, _progress)
    numbers = json.dumps(as_json(quantized, settings), indent=2)
    text = as_markdown(quantized, settings, spec.path.name)
    refused = _write_models(spec, quantized, places, settings)
    # After the models, so that on a full disk there is no report without its model.
    for file, content in zip(places.report, (numbers, text)):
        _write(file, content.encode())
    print(text)
    if refused:
        raise QuantizationError(f'refused and not written: {"; ".join(refused)}')
    return 0


def _write_models(
    spec: ModelSpec, quantized: Quantized, places: _Places, settings: QuantizationSettings
) -> List[str]:
    """Write the models that passed their gates; returns why the others are refused.

    Files of the refused models from an earlier run are removed: it had a looser gate, or other
    frames.
    """
    refused = []
    if quantized.failures:
        refused.append(f'{places.model}: {advice(quantized, settings)}')
        _remove(places.model)
    else:
        _write(places.model, quantized.model.SerializeToString())
        if spec.contract != OWN:  # its file may not hold everything that is needed to load it
            print(f'written: {write_sidecar(spec, places.model)}', file=sys.stderr)
    if places.fp16 and quantized.half.failures:
        refused.append(f'{places.fp16[0]}: {half_advice(quantized)}')
    half, record = quantized.half, quantized.record
    made = (
        Candidate('fp16', spec.path, 'as asked', single=record.single),
        Candidate('int8', places.model, 'as asked', single=record.pair_single),
    )
    if places.fp16 and not record.pair_passed:
        print(
            f'not written: {places.fp16[1]}, since both together fail; an engine of '
            f'{places.model} has FP32 beside INT8',
            file=sys.stderr,
        )
    apart = quantized.failures or not record.pair_passed
    failures = half.failures, half.failures or apart
    for path, candidate, failed in zip(places.fp16, made, failures):
        if failed:
            _remove(path)
        else:
            _write_fp16(spec, candidate, path)
    return refused


def _ranges(arguments: argparse.Namespace) -> str:
    """How ranges are chosen; raises QuantizationError where the backend cannot."""
    known = BACKENDS[arguments.backend]
    ranges: str = arguments.ranges or known[0]
    if ranges not in known:
        raise QuantizationError(
            f'--ranges {ranges} is not to be had of --backend {arguments.backend}; use '
            f'{" or ".join(known)}'
        )
    if arguments.backend == 'modelopt':
        require_modelopt()
    return ranges


def _too_loose(loss: float) -> str:
    if loss <= _LOOSE:
        return ''
    points = f'{100 * loss:g} points of mean IoU'
    return f'--loss {loss:g} allows a loss of {points}; 0.005 is half a point'


def _beside(out: Path, suffix: str) -> Path:
    name = out.name
    for ending in ('.onnx', '.int8'):
        name = name[: -len(ending)] if name.endswith(ending) else name
    return out.with_name(f'{name}{suffix}')


def _write_fp16(spec: ModelSpec, candidate: Candidate, path: Path) -> None:
    """Write the graph for strongly typed TensorRT, with its sidecar."""
    network = parsed_network(spec, candidate, strongly_typed=True, keep_io=True)
    sidecar = save_network(network, path)
    print(f'written: {path} with {sidecar.name}', file=sys.stderr)


def _write(path: Path, data: bytes) -> None:
    write_file(path, data)
    print(f'written: {path}', file=sys.stderr)


def _remove(model: Path) -> None:
    for path in (model, sidecar_path(model)):
        if path.exists():
            path.unlink()
            print(f'removed: {path}, of an earlier run', file=sys.stderr)


def _progress(stage: str, steps: int) -> Callable[[], object]:
    """A progress bar for each stage, closed after its last step."""
    bar = tqdm(total=steps, desc=stage)

    def step() -> None:
        bar.update()
        if bar.n >= steps:
            bar.close()

    return step
