"""segformer evaluate: score a model on recordings with known labels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from tqdm import tqdm

from segformer_ros.destination import DestinationError
from segformer_ros.engines import EngineOptions
from segformer_ros.errors import one_line
from segformer_ros.evaluation import (
    EvaluationError,
    EvaluationJob,
    Execution,
    ModelChoice,
    Run,
    predictions,
)
from segformer_ros.evaluation.gate import (
    Limit,
    baseline_notes,
    broken_drops,
    broken_limits,
    check_gates,
    parse_limits,
    read_metrics,
)
from segformer_ros.evaluation.outputs import annotate_run, report_run
from segformer_ros.evaluation.pool import spare_threads
from segformer_ros.metrics.text import scores_text
from segformer_ros.terminal.arguments import (
    LOCATION_HELP,
    add_camera_arguments,
    add_merge_argument,
    add_model_arguments,
    add_source_arguments,
    add_upsampling_argument,
    camera_pose,
    merged_classes,
    source_options,
    whole,
)

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
        help='with --inference slide: from one window to the next',
    )  # fmt: skip
    add_source_arguments(parser)
    truth = parser.add_argument_group('truth, besides the labels of the recording')
    truth.add_argument(
        '--reference', metavar='MODEL',
        help='take the masks of another model as truth, to see how far the two agree',
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
    limits, drops = parse_limits(arguments.fail_under), parse_limits(arguments.max_drop)
    baseline = read_metrics(arguments.baseline) if arguments.baseline else None
    if drops and baseline is None:
        raise EvaluationError('--max-drop needs --baseline, the metrics.json to compare with')
    with Run(job_of(arguments), arguments.out) as evaluation_run:
        return _evaluate(evaluation_run, arguments, limits, drops, baseline)


def _evaluate(
    evaluation_run: Run,
    arguments: argparse.Namespace,
    limits: Tuple[Limit, ...],
    drops: Tuple[Limit, ...],
    baseline: Optional[Dict[str, Any]],
) -> int:
    """Tell what is odd, and finish the run; returns the exit code."""
    blank = evaluation_run.blank()
    check_gates(blank, limits, drops, baseline)  # wrong ones end here, not after hours
    for note in (*evaluation_run.notes, *(baseline_notes(blank, baseline) if baseline else ())):
        print(f'segformer evaluate: {one_line(note)}', file=sys.stderr)
    try:
        return _finish(evaluation_run, arguments, limits, drops, baseline)
    except (KeyboardInterrupt, DestinationError):
        print(_kept_text(evaluation_run), file=sys.stderr)
        raise


def _finish(
    evaluation_run: Run,
    arguments: argparse.Namespace,
    limits: Tuple[Limit, ...],
    drops: Tuple[Limit, ...],
    baseline: Optional[Dict[str, Any]],
) -> int:
    """Score, write the results and print the summary; returns the exit code."""
    done = evaluation_run.frames - evaluation_run.left
    with tqdm(total=evaluation_run.frames, initial=done, unit='frame', desc='evaluate') as bar:
        execution = Execution(arguments.workers, arguments.ray)
        evaluation = evaluation_run.execute(execution, bar.update)
    broken = broken_limits(evaluation.metrics, limits)
    if baseline:
        broken += broken_drops(evaluation.metrics, baseline, drops)
    report = report_run(evaluation_run, evaluation, baseline, broken)
    if arguments.write_mcap:
        with tqdm(total=evaluation_run.frames, unit='frame', desc='annotate') as bar:
            annotate_run(evaluation_run, bar.update)
    evaluation_run.finish()
    print(scores_text(evaluation.metrics))
    print(f'report: {report}')
    for line in broken:
        print(f'gate broken: {line}', file=sys.stderr)
    return 1 if broken else 0


def _kept_text(evaluation_run: Run) -> str:
    """What is left of an interrupted run, and how it goes on."""
    kept, frames = evaluation_run.kept, evaluation_run.frames
    return (
        f'{kept} of {frames} frames are kept in {evaluation_run.out} (they are saved '
        f'{evaluation_run.job.shard_frames} at a time); the same command goes on from there'
    )


def job_of(arguments: argparse.Namespace) -> EvaluationJob:
    """The job that the command line describes."""
    options = EngineOptions(
        precision=arguments.precision,
        threads=arguments.threads or spare_threads(arguments.workers),
        inference=arguments.inference,
        slide_stride=arguments.slide_stride,
    )
    keep = arguments.write_predictions or arguments.write_mcap
    reference = None
    if arguments.reference:
        reference = ModelChoice(
            arguments.reference, options=EngineOptions(threads=options.threads)
        )
    return EvaluationJob(
        inputs=tuple(arguments.inputs),
        sources=source_options(arguments),
        model=ModelChoice(arguments.model, arguments.engine, options, arguments.classes),
        reference=reference,
        merged=merged_classes(arguments),
        drivable=arguments.drivable,
        pose=camera_pose(arguments),
        hfov=arguments.hfov,
        upsampling=arguments.upsampling,
        worst=arguments.worst,
        predictions=str(arguments.out / predictions.FOLDER) if keep else '',
    )
