# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""python -m tools.demo: a drive through the real nodes, as ./run demo."""

from __future__ import annotations

from segformer_ros.interrupts import EXIT_INTERRUPTED, run_program

if __name__ == '__main__':
    run_program('tools.demo.__main__', name='demo')

import argparse
import sys
from pathlib import Path
from typing import List, Mapping, Optional

from tqdm import tqdm

from segformer_ros.camera import Camera
from segformer_ros.classes import ClassMap
from segformer_ros.cli.arguments import merged_classes, source_options
from segformer_ros.destination import output_folder, refuse_overwriting_input
from segformer_ros.engines.upsampling import resize_labels
from segformer_ros.errors import ArgumentParser
from segformer_ros.node.replay.player import ReplayReport
from segformer_ros.recordings import Source, open_source
from segformer_ros.segmenter.results import ResultFolder
from segformer_ros.segmenter.run import RunScore, RunSummary
from tools.demo.moments import Recording
from tools.demo.node_commands import (
    DemoError,
    check_ros,
    chosen_model,
    mount_parameters,
    node_parameters,
)
from tools.demo.play import DemoPlan, play
from tools.demo.processes import Value
from tools.demo.start import add_drive_arguments, run_explained

DEFAULT_OUT = Path('out/demo')

_FILES = ('overlay.mp4', 'drive.mcap', 'summary.json')


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the demo; returns the exit code."""
    return run_explained('demo', run, _parser(), arguments)


def run(arguments: argparse.Namespace) -> int:
    """Play, then make files and the summary of what was recorded."""
    check_ros()
    options = source_options(arguments)
    source = open_source(arguments.input, options)
    parameters = node_parameters(arguments)
    model, class_map = chosen_model(parameters)
    score = RunScore(
        class_map, merged_classes(arguments), source.class_map, source.class_map_given
    )
    folder: Path = arguments.out
    refuse_overwriting_input(source.path, [folder / name for name in ('frames', *_FILES)])
    recording = _empty(folder)
    plan = DemoPlan(arguments.input, options, parameters, arguments.rate, not arguments.headless)
    for note in (*source.notes, _without_metres(source, parameters)):
        if note:
            print(note, file=sys.stderr)
    print(f'{source.name}: {len(source)} frames through the segmentation node, into {folder}')
    code, failure = 0, ''
    try:
        failure = play(plan, source, recording)
    except KeyboardInterrupt:
        print('interrupted; writing what there is', file=sys.stderr)
        code = EXIT_INTERRUPTED
    if not recording.exists():
        if code:
            return code
        raise DemoError(
            failure
            or 'nothing was recorded: no frame came through the nodes; `segformer segment '
            f'{arguments.input}` tells what is wrong with each'
        )
    summary = make_results(recording, folder, class_map, score, source.name, model)
    summary.write(folder / 'summary.json')
    print(summary.as_table())
    print(f'\n{folder}: overlay.mp4, frames/, drive.mcap, summary.json')
    fault = failure or summary.fault(source.labelled)
    if fault and not code:
        raise DemoError(fault)
    return code


def _without_metres(source: Source, parameters: Mapping[str, Value]) -> str:
    """What the drivable area lacks, and what to do about it; '' where it lacks nothing."""
    lacks = list(Camera(source.calibration, source.pose).lacks)
    if 'mount' in lacks and mount_parameters(source, parameters):
        lacks.remove('mount')
    if not lacks:
        return ''
    return (
        f'the drivable area is without metres: no {" and no ".join(lacks)} of the camera is '
        'known; record camera_info and /tf_static (or give --param mount.height:=METRES and '
        'mount.pitch:=RADIANS), or describe all of it to `segformer segment` (--hfov, --height, '
        '--pitch)'
    )


def make_results(
    recording: Path, folder: Path, class_map: ClassMap, score: RunScore, source: str, model: str
) -> RunSummary:
    """Make video, pictures and figures of a recording."""
    with Recording(recording) as drive:
        with ResultFolder(folder, class_map, drive.masks) as results:
            for view in tqdm(drive.views(), total=drive.masks, unit='frame', desc='write'):
                results.add(view)
                if view.truth is not None:
                    score.update(view.truth, resize_labels(view.labels, view.truth.shape))
        masks = drive.masks
        report = drive.report() or ReplayReport(published=masks, answered=masks)
        return RunSummary(
            source=source,
            frames_in=report.published,
            frames_segmented=masks,
            frames_broken=report.broken,
            latency_ms={'p50': report.latency_p50, 'p99': report.latency_p99},
            fps=masks / report.seconds if report.seconds else float('nan'),
            model=model,
            engine=drive.engine_facts(),
            score=score.result(),
        )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog='./run demo',
        description='Play a drive through the real replay and segmentation nodes over DDS, and '
        'write overlay.mp4, frames/*.png, drive.mcap (for Foxglove) and summary.json.',
    )
    add_drive_arguments(parser, DEFAULT_OUT, rate=0.0)
    parser.add_argument(
        '--headless', action='store_true', help='no live page; only write the files'
    )
    return parser


def _empty(folder: Path) -> Path:
    """Make the folder, take the results of an earlier run away; where to record."""
    output_folder(folder)
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    return folder / 'drive.mcap'
