"""segformer quantize: an INT8 model from frames, accepted only where it is accurate enough."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Callable

from tqdm import tqdm

from segformer_ros.destination import output_file
from segformer_ros.engines.precision import Candidate, quantized_path
from segformer_ros.engines.trt.network import save_network
from segformer_ros.engines.trt.provision import parsed_network
from segformer_ros.model import ModelSpec, load_model_spec
from segformer_ros.model.files import model_hash
from segformer_ros.quantization import (
    RANGES,
    Gate,
    QuantizationError,
    Settings,
    collect_samples,
    quantize,
)
from segformer_ros.quantization.report import advice, as_json, as_markdown, half_advice
from segformer_ros.quantization.samples import too_few, too_few_labels
from segformer_ros.sources import SourceOptions, open_source
from segformer_ros.terminal.argument_types import number, whole
from segformer_ros.terminal.arguments import MAX_THREADS

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
    parser.add_argument('--topic', default='', help='image topic of a bag with several cameras')
    parser.add_argument(
        '--out',
        type=Path,
        metavar='M.int8.onnx',
        help='the INT8 model (default: NAME.int8.onnx beside the model)',
    )
    parser.add_argument(
        '--ranges', choices=RANGES, default='percentile', help='how ranges are chosen'
    )
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
        help='with --labels: mean IoU that may be lost',
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


def run(arguments: argparse.Namespace) -> int:
    """Quantise, judge, write model and report; exit code 1 where the gate is not passed."""
    spec = load_model_spec(arguments.model)
    options = SourceOptions(topic=arguments.topic, labels=arguments.labels)
    sources, judged = (
        [open_source(location, options) for location in locations]
        for locations in (arguments.calibrate, arguments.judge)
    )
    out = output_file(arguments.out or quantized_path(spec.path))
    samples = collect_samples(sources, arguments.frames, arguments.held_out, judged)
    warnings = [too_few(samples)]
    if arguments.labels:
        warnings.append(too_few_labels(samples.held_out, len(spec.class_map)))
    for warning in filter(None, warnings):
        print(f'warning: {warning}', file=sys.stderr)
    settings = Settings(
        arguments.ranges,
        arguments.percent,
        Gate(arguments.agreement, arguments.loss),
        arguments.sensitivity,
        arguments.threads,
    )
    quantized = quantize(spec, samples, settings, _progress)
    numbers = json.dumps(as_json(quantized, settings, model_hash(spec.path)), indent=2)
    text = as_markdown(quantized, settings, spec.path.name)
    _write(out.with_name(f'{out.stem}.json'), numbers.encode())
    _write(out.with_name(f'{out.stem}.md'), text.encode())
    print(text)
    refused = []
    if quantized.failures:
        refused.append(f'{out}: {advice(quantized)}')
        _remove(out)  # an earlier one, made under a looser gate or on other frames
    else:
        _write(out, quantized.model.SerializeToString())
    if arguments.half and quantized.half.failures:
        refused.append(f'{_beside(out, ".fp16.onnx")}: {half_advice(quantized)}')
    elif arguments.half:
        _write_half(spec, Candidate('fp16', spec.path, 'as asked'), _beside(out, '.fp16.onnx'))
        if not quantized.failures:
            int8 = Candidate('int8', out, 'as asked')
            _write_half(spec, int8, _beside(out, '.int8.fp16.onnx'))
    if refused:
        raise QuantizationError(f'refused and not written: {"; ".join(refused)}')
    return 0


def _beside(out: Path, suffix: str) -> Path:
    name = out.name
    for ending in ('.onnx', '.int8'):
        name = name[: -len(ending)] if name.endswith(ending) else name
    return out.with_name(f'{name}{suffix}')


def _write_half(spec: ModelSpec, candidate: Candidate, path: Path) -> None:
    """The graph that strongly typed TensorRT is given, with its sidecar."""
    network = parsed_network(spec, candidate, strongly_typed=True, keep_io=True)
    sidecar = save_network(network, path)
    print(f'written: {path} with {sidecar.name}', file=sys.stderr)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    print(f'written: {path}', file=sys.stderr)


def _remove(path: Path) -> None:
    if path.exists():
        path.unlink()
        print(f'removed: {path}, of an earlier run', file=sys.stderr)


def _progress(stage: str, steps: int) -> Callable[[], object]:
    """A bar for each stage, closed with its last step."""
    bar = tqdm(total=steps, desc=stage)

    def step() -> None:
        bar.update()
        if bar.n >= steps:
            bar.close()

    return step
