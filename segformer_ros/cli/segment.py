# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer segment: masks, overlay and drivable area of a whole recording."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from segformer_ros.camera import Camera
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
    model_spec,
    source_options,
)
from segformer_ros.destination import lock_folder, output_folder, refuse_overwriting_input
from segformer_ros.errors import one_line
from segformer_ros.evaluation.label_survey import survey
from segformer_ros.interrupts import EXIT_INTERRUPTED
from segformer_ros.recordings import Source, SourceError, open_source
from segformer_ros.segmenter.run import RESULTS, SegmentRun
from segformer_ros.segmenter.segmenter import Segmenter

SUMMARY = (
    'segment a bag, a video or a folder of images: masks, an overlay video, the drivable area, '
    'and a bag with all of these'
)

_OUT_HELP = (
    'folder for the results: masks/, overlay.mp4, frames/, drivable.jsonl, summary.json and '
    'drive.mcap, which has masks, overlay and drivable area with the stamps of the images, but '
    'not the images themselves, which are in INPUT (default: out/segment)'
)

_FAULTS_TOLD = 20
"""Faulty frames that are reported one by one; a long recording may have thousands."""

_CURES = {
    'calibration': 'record camera_info, or give --camera-info FILE or --hfov',
    'mount': 'record a /tf_static that leads to it, or give --height and --pitch',
}
"""How to provide what is not known about a camera."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument('location', nargs='?', metavar='INPUT', help=LOCATION_HELP)
    parser.add_argument(
        '-i', '--input', help='the same, also as file://, as in DeepStream applications'
    )
    parser.add_argument('--out', type=Path, default=Path('out/segment'), help=_OUT_HELP)
    add_upsampling_argument(parser)
    add_model_arguments(parser)
    add_source_arguments(parser)
    add_merge_argument(parser)
    add_camera_arguments(parser.add_argument_group('camera, for distances in metres'))


def run(arguments: argparse.Namespace) -> int:
    """Segment all of the recording."""
    location = arguments.location or arguments.input
    if not location:
        raise SourceError('no recording is given; name a bag, a video or a folder of images')
    source = open_source(location, source_options(arguments))
    source.note_unused(arguments.hfov)
    for note in source.notes:
        print(one_line(note), file=sys.stderr)
    refuse_overwriting_input(source.path, [arguments.out / name for name in RESULTS])
    folder = output_folder(arguments.out)
    lock = lock_folder(folder)
    try:
        return _into(folder, arguments, source)
    finally:
        os.close(lock)


def _into(folder: Path, arguments: argparse.Namespace, source: Source) -> int:
    """Segment all of a source into a folder; returns the exit code."""
    code = 0
    with _segmenter(arguments, source) as segmenter:
        camera = segmenter.camera_of(source)
        if camera.lacks:
            print(one_line(_without_metres(camera)), file=sys.stderr)
        if source.labelled:
            for note in survey(source, segmenter.class_map, source_options(arguments)):
                print(one_line(note), file=sys.stderr)
        with SegmentRun(source, segmenter, folder, merged_classes(arguments)) as segment_run:
            try:
                _segment_all(segment_run, source)
            except KeyboardInterrupt:
                print('interrupted; the frames so far are written', file=sys.stderr)
                code = EXIT_INTERRUPTED
            summary = segment_run.summary()
    summary.write(folder / 'summary.json')
    print(summary.as_table())
    print(f'\n{folder}: {", ".join(sorted(path.name for path in folder.iterdir()))}')
    fault = summary.fault(source.labelled)
    if fault and not code:
        raise SourceError(fault)
    return code


def _segment_all(segment_run: SegmentRun, source: Source) -> None:
    faults = 0
    with tqdm(total=len(source), unit='frame', desc='segment') as bar:

        def advance(fault: str) -> None:
            nonlocal faults
            faults += bool(fault)
            if fault and faults <= _FAULTS_TOLD:
                bar.write(one_line(fault), file=sys.stderr)
            bar.update()

        segment_run.run(advance)
    if faults > _FAULTS_TOLD:
        print(f'{faults - _FAULTS_TOLD} more frames had a fault', file=sys.stderr)


def _segmenter(arguments: argparse.Namespace, source: Source) -> Segmenter:
    """The model that the arguments name, and the camera that they describe."""
    spec = model_spec(arguments)
    for note in spec.notes:
        print(one_line(f'{spec.path.name}: {note}'), file=sys.stderr)
    return Segmenter(
        spec,
        engine=arguments.engine,
        options=replace(engine_options(arguments), streams=2),
        upsampling=arguments.upsampling,
        calibration=source.calibrated(arguments.hfov),
        pose=camera_pose(arguments),
        vehicle_frame=arguments.vehicle_frame,
    )


def _without_metres(camera: Camera) -> str:
    cures = '; '.join(f'no {lack} of the camera is known: {_CURES[lack]}' for lack in camera.lacks)
    return f'the drivable area is without metres: {cures}'
