# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer evaluate: score a model on recordings with known labels."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping

from tqdm import tqdm

from segformer_ros.cli.arguments import (
    LOCATION_HELP,
    add_camera_arguments,
    add_merge_argument,
    add_model_arguments,
    add_source_arguments,
    add_upsampling_argument,
    camera_pose,
    engine_options,
    merged_classes,
    source_options,
    whole,
)
from segformer_ros.destination import DestinationError
from segformer_ros.errors import one_line
from segformer_ros.evaluation.api import EvaluationOptions, Gates, annotate_run, score
from segformer_ros.evaluation.runner import EvaluationRun
from segformer_ros.metrics.document import SCORES
from segformer_ros.text_table import format_table

SUMMARY = 'score a model on bags, videos or image folders with known labels'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help=LOCATION_HELP)
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('out/evaluation'),
        help='folder for the results (default: out/evaluation)',
    )
    add_model_arguments(parser)
    add_upsampling_argument(parser)
    parser.add_argument(
        '--slide-stride', type=whole(0), default=0, metavar='PIXELS',
        help='with --inference slide: distance from one window to the next',
    )  # fmt: skip
    add_source_arguments(parser)
    truth = parser.add_argument_group('truth, besides the labels of the recording')
    truth.add_argument(
        '--reference', metavar='MODEL',
        help='use the masks of another model as truth, to see how far the two agree',
    )  # fmt: skip
    add_merge_argument(truth)
    _add_drivable_arguments(parser)
    _add_result_arguments(parser)
    work = parser.add_argument_group('work')
    work.add_argument(
        '--workers',
        type=whole(1),
        default=1,
        help='number of processes that share the frames (default: 1)',
    )
    work.add_argument(
        '--ray', default='', metavar='ADDRESS', help="address of a Ray cluster, or 'local'"
    )


def _add_drivable_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('drivable area')
    group.add_argument(
        '--drivable', default='',
        help="what may be driven on: a group of the class map, or class names joined by '+'",
    )  # fmt: skip
    add_camera_arguments(group)


def _add_result_arguments(parser: argparse.ArgumentParser) -> None:
    results = parser.add_argument_group('results')
    results.add_argument(
        '--baseline', type=Path, metavar='METRICS',
        help='metrics.json of another run, for a comparison in the report',
    )  # fmt: skip
    results.add_argument(
        '--fail-under', default='', metavar='GATES',
        help='exit with 1 unless these hold, as in miou=0.6,iou.road=0.95,false_free=0.01 '
        '(for error rates the number is the highest allowed)',
    )  # fmt: skip
    results.add_argument(
        '--max-drop', default='', metavar='GATES',
        help='exit with 1 if a score is worse than the baseline by more, as in miou=0.005',
    )  # fmt: skip
    results.add_argument(
        '--write-predictions', action='store_true',
        help='keep the masks as label images, as the Cityscapes server expects them',
    )  # fmt: skip
    results.add_argument(
        '--write-mcap', action='store_true',
        help='write annotated.mcap for Foxglove (also keeps the masks)',
    )  # fmt: skip
    results.add_argument(
        '--worst',
        type=whole(0),
        default=6,
        metavar='N',
        help='number of worst frames in the report (default: 6)',
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, write the results and print the summary; 1 where a gate is broken."""
    options = evaluation_options(arguments)
    gates = options.gates()
    job = options.job(arguments.inputs, arguments.model, arguments.out)
    with EvaluationRun(job, arguments.out) as evaluation_run:
        return _evaluate(evaluation_run, options, gates)


def _evaluate(evaluation_run: EvaluationRun, options: EvaluationOptions, gates: Gates) -> int:
    """Print notes on the run, and finish it; returns the exit code."""
    for note in gates.check(evaluation_run):  # raises for wrong gates now, not after hours
        print(f'segformer evaluate: {one_line(note)}', file=sys.stderr)
    try:
        return _finish(evaluation_run, options, gates)
    except (KeyboardInterrupt, DestinationError):
        print(_kept_text(evaluation_run), file=sys.stderr)
        raise


def _finish(evaluation_run: EvaluationRun, options: EvaluationOptions, gates: Gates) -> int:
    """Score, write the results and print the summary; returns the exit code."""
    done = evaluation_run.frames - evaluation_run.left
    with tqdm(total=evaluation_run.frames, initial=done, unit='frame', desc='evaluate') as bar:
        report = score(evaluation_run, gates, options.execution(), bar.update)
    if options.write_mcap:
        with tqdm(total=evaluation_run.frames, unit='frame', desc='annotate') as bar:
            annotate_run(evaluation_run, bar.update)
    evaluation_run.finish()
    print(scores_text(report.metrics))
    print(f'report: {report.page}')
    for line in report.broken:
        print(f'gate broken: {line}', file=sys.stderr)
    return 1 if report.broken else 0


def _kept_text(evaluation_run: EvaluationRun) -> str:
    """What an interrupted run has saved, and how to resume it."""
    kept, frames = evaluation_run.kept, evaluation_run.frames
    return (
        f'{kept} of {frames} frames are saved in {evaluation_run.out} ('
        f'{evaluation_run.job.shard_frames} at a time); the same command continues from there'
    )


def evaluation_options(arguments: argparse.Namespace) -> EvaluationOptions:
    """The options that the command line gives."""
    return EvaluationOptions(
        engine=arguments.engine,
        engine_options=replace(engine_options(arguments), slide_stride=arguments.slide_stride),
        classes=arguments.classes,
        upsampling=arguments.upsampling,
        sources=source_options(arguments),
        reference=arguments.reference or '',
        merged=merged_classes(arguments),
        drivable=arguments.drivable,
        pose=camera_pose(arguments),
        hfov=arguments.hfov,
        baseline=arguments.baseline,
        fail_under=arguments.fail_under,
        max_drop=arguments.max_drop,
        write_predictions=arguments.write_predictions,
        write_mcap=arguments.write_mcap,
        worst=arguments.worst,
        workers=arguments.workers,
        ray=arguments.ray,
    )


SHOWN_NOTES = 10
"""Most notes on frames that are shown."""


def scores_text(metrics: Mapping[str, Any]) -> str:
    """The content of metrics.json, as tables."""
    frames = metrics['frames']
    totals = [
        (title, f'{metrics[name]:.4f}') for name, title in SCORES if metrics[name] is not None
    ]
    totals.append(('frames scored', f'{frames["scored"]} of {frames["total"]}'))
    classes = [
        (name, metrics['iou'][name], pixels, 'rare' if name in metrics['rare'] else '')
        for name, pixels in metrics['pixels'].items()
        if pixels
    ]
    lines = [format_table(('class', 'IoU', 'pixels', ''), classes), '']
    lines.append(format_table(('', ''), totals))
    lines += [f'{item["name"]}: {note}' for item in metrics['inputs'] for note in item['notes']]
    lines += [f'{n["input"]}/{n["frame"]}: {n["note"]}' for n in metrics['notes'][:SHOWN_NOTES]]
    hidden = frames['noted'] - SHOWN_NOTES
    if hidden > 0:
        lines.append(f'{hidden} more frames with a note: see frames.csv')
    return '\n'.join(lines)
