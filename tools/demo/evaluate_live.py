# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""./run evaluate-live: a recording through the real nodes, scored against its labels."""

from __future__ import annotations

from segformer_ros.interrupts import run_program

if __name__ == '__main__':
    run_program('tools.demo.evaluate_live')

import argparse
import json
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Dict, List, Mapping, Optional

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.cli.arguments import merged_classes, source_options
from segformer_ros.cli.evaluate import scores_text
from segformer_ros.destination import output_folder
from segformer_ros.errors import ArgumentParser, one_line
from segformer_ros.evaluation.label_survey import survey
from segformer_ros.metrics.metric import truth_table
from segformer_ros.recordings import Source, SourceError, open_source
from segformer_ros.text_table import format_table
from tools.demo.node_commands import (
    DemoError,
    check_ros,
    chosen_model,
    mount_parameters,
    node_parameters,
    replay_command,
    segmentation_command,
)
from tools.demo.processes import NodeCommand, Nodes, Value
from tools.demo.start import add_drive_arguments, run_explained

DEFAULT_OUT = Path('out/live')
CLASS_MAP = 'class_map.yaml'

SEGMENTATION, EVALUATOR, REPLAY = 'segmentation node', 'evaluator', 'replay'

_POLL = 0.1
_SCORING = 600.0
"""Seconds that the evaluator may take to score after the replay has ended."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the live evaluation; returns the exit code."""
    return run_explained('evaluate-live', run, _parser(), arguments)


def run(arguments: argparse.Namespace) -> int:
    """Play a recording through the nodes and print what the evaluator found."""
    check_ros()
    options = source_options(arguments)
    source = open_source(arguments.input, options)
    if not source.labelled:
        raise SourceError(
            f'{arguments.input} has no truth; give --labels FOLDER or --label-topic TOPIC'
        )
    parameters = node_parameters(arguments)
    _, class_map = chosen_model(parameters)  # a wrong one is refused before anything starts
    _check_truth(source, class_map)
    for note in (*source.notes, *survey(source, class_map, options)):
        print(one_line(note), file=sys.stderr)
    folder = output_folder(arguments.out)
    for name in ('metrics.json', 'live.json'):
        (folder / name).unlink(missing_ok=True)
    with Nodes() as nodes:
        nodes.start(SEGMENTATION, segmentation_command(parameters))
        nodes.start(EVALUATOR, _evaluator(arguments, source, class_map, parameters))
        nodes.start(REPLAY, replay_command(arguments.input, options, arguments.rate))
        _wait(nodes)
    metrics, live = (
        json.loads((folder / name).read_text(encoding='utf-8'))
        for name in ('metrics.json', 'live.json')
    )
    print(scores_text(metrics))
    print()
    print(live_text(live))
    print(f'\n{folder}: metrics.json, live.json, {CLASS_MAP}')
    return 0


def live_text(live: Mapping[str, Any]) -> str:
    """What live.json holds, as a table."""
    rows = [
        (title, _number(live[name]))
        for name, title in (
            ('published', 'images published'),
            ('images', 'images seen here'),
            ('masks', 'masks'),
            ('dropped', 'images without a mask'),
            ('pairs', 'masks with truth'),
            ('jitter_ms', 'jitter, ms'),
        )
    ]
    for name, title in (
        ('latency_ms', 'latency, image to mask'),
        ('age_ms', 'age of the masks'),
        ('interval_ms', 'interval of the masks'),
    ):
        if live[name] is not None:
            figures = ' / '.join(_number(live[name][part]) for part in ('p50', 'p99'))
            rows.append((f'{title}, p50 / p99 ms', figures))
    return format_table(('', ''), rows)


def _number(value: Any) -> str:
    return '-' if value is None else f'{value:.1f}' if isinstance(value, float) else str(value)


def _wait(nodes: Nodes) -> None:
    """Wait until the evaluator has ended by itself; raises DemoError where a node fails."""
    deadline = float('inf')
    while nodes.code(EVALUATOR) is None:
        if nodes.code(SEGMENTATION) is not None:
            raise DemoError(nodes.failure(SEGMENTATION))
        if nodes.code(REPLAY):
            raise DemoError(nodes.failure(REPLAY))
        if nodes.code(REPLAY) is not None:
            deadline = min(deadline, monotonic() + _SCORING)
        if monotonic() > deadline:
            raise DemoError(f'the evaluator has not ended {_SCORING:g} s after the replay')
        sleep(_POLL)
    if nodes.code(EVALUATOR):
        raise DemoError(nodes.failure(EVALUATOR))


def _check_truth(source: Source, class_map: ClassMap) -> None:
    """Raises MetricError, or SourceError, where the labels are not train ids of the model."""
    if not source.class_map:
        return
    whose = f'the truth of {source.name}'
    if truth_table(load_class_map(source.class_map), class_map, whose) is not None:
        raise SourceError(
            f'{whose} has the classes of the model in another order; score it with '
            '`segformer evaluate`'
        )


def _evaluator(
    arguments: argparse.Namespace,
    source: Source,
    class_map: ClassMap,
    given: Mapping[str, Value],
) -> NodeCommand:
    """The evaluator; it is given the model's classes as a file in the folder of the results.

    given: parameters of the segmentation node.
    """
    classes = arguments.out / CLASS_MAP
    classes.write_text(class_map.as_yaml(), encoding='utf-8')
    parameters: Dict[str, Value] = {
        'output': str(arguments.out),
        'frames': len(source),
        'label_tolerance': arguments.label_tolerance,
        'merge': ';'.join(','.join(group) for group in merged_classes(arguments)),
        'class_map': str(classes),
        'quiet': 0.0,
        **mount_parameters(source, given),
    }
    return NodeCommand('segformer_ros.node.evaluator.evaluator_node', parameters)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog='./run evaluate-live',
        description='Play a recording through the real replay and segmentation nodes over DDS, '
        'and score the masks that come out: the same metrics as `segformer evaluate`, and the '
        'age of the masks, drops and jitter.',
    )
    add_drive_arguments(parser, DEFAULT_OUT, rate=1.0)
    return parser
