# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer mount: how a camera is mounted, from a drive."""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial
from pathlib import Path
from typing import Callable, Iterable, List, Optional, Tuple

import numpy as np
from tqdm import tqdm

from segformer_ros.camera import Calibration, CameraError, CameraPose
from segformer_ros.camera.ego_motion import (
    WHY_NOT,
    EgoMotion,
    EgoMotionTracker,
    StaticClasses,
)
from segformer_ros.camera.mount_estimation import (
    Measured,
    MotionError,
    MountEstimate,
    estimate_mount,
)
from segformer_ros.classes import ClassMap
from segformer_ros.cli.arguments import (
    LOCATION_HELP,
    add_model_arguments,
    add_source_arguments,
    engine_of,
    model_spec,
    number,
    source_options,
)
from segformer_ros.destination import output_file, refuse_overwriting_input, write_image
from segformer_ros.drawing.overlay import draw_ground_grid
from segformer_ros.engines import Wanted
from segformer_ros.errors import one_line
from segformer_ros.frame import Frame
from segformer_ros.interrupts import EXIT_INTERRUPTED
from segformer_ros.recordings import Source, SourceError, SourceFrame, open_source
from segformer_ros.recordings.bag_source import BagSource
from segformer_ros.recordings.bag_topics import SpeedReadings
from segformer_ros.recordings.source import read_ahead
from segformer_ros.text_table import format_table

SUMMARY = 'find pitch, yaw, roll and height of a camera from a minute of driving'

DEFAULT_OUT = Path('out/mount.png')

_PICTURE_SUFFIXES = ('.png', '.jpg')
_EVERY = 0.25  # least seconds between frames whose points are tracked ...
_SHORT = 300  # ... in recordings with more frames than this


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument('location', metavar='INPUT', help=LOCATION_HELP)
    parser.add_argument(
        '--out', type=Path, default=DEFAULT_OUT, metavar='FILE',
        help='picture with horizon and grid on the ground, to check by eye '
        f'(default: {DEFAULT_OUT})',
    )  # fmt: skip
    group = parser.add_argument_group('what is known already')
    group.add_argument(
        '--hfov', type=number(1, 179),
        help='horizontal field of view of a camera without calibration, degrees',
    )  # fmt: skip
    group.add_argument(
        '--height', type=number(0, 100, above=True),
        help='height of the lens above the ground, m, by the tape measure',
    )  # fmt: skip
    group.add_argument(
        '--speed', type=number(-100, 100), help='speed of the vehicle, m/s, where it was constant'
    )
    group.add_argument(
        '--odometry', default='', metavar='TOPIC',
        help='nav_msgs/Odometry of a bag with the speed (default: the only one)',
    )  # fmt: skip
    add_model_arguments(parser)
    add_source_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the mount, also as parameters, and draw it."""
    source = open_source(arguments.location, source_options(arguments))
    source.note_unused(arguments.hfov)
    for note in source.notes:
        print(one_line(note), file=sys.stderr)
    refuse_overwriting_input(source.path, [arguments.out])
    output_file(arguments.out, _PICTURE_SUFFIXES)
    speeds = _speeds(arguments, source)
    calibration = source.calibrated(arguments.hfov)
    if calibration is None:
        raise CameraError(
            f'the camera of {arguments.location} is not calibrated'
            f'{f": {source.camera_fault}" if source.camera_fault else ""}; record camera_info, '
            'or give --hfov'
        )
    spec, code = model_spec(arguments), 0
    drive = MountDrive(calibration, spec.class_map, speeds, len(source))
    with engine_of(arguments, spec) as engine:
        frames = read_ahead(source.frames())
        bar = tqdm(frames, total=len(source), unit='frame', desc='mount')
        try:
            drive.watch(bar, lambda frame: engine.segment([frame], Wanted())[0].labels)
        except KeyboardInterrupt:
            print('interrupted; this is what the frames so far tell', file=sys.stderr)
            code = EXIT_INTERRUPTED
        finally:
            frames.close()
    if drive.unread:
        why = 'cannot be read, or are of another size than the calibration'
        print(f'{drive.unread} frames {why}', file=sys.stderr)
    estimate = drive.estimate()
    height = arguments.height or (estimate.height.value if estimate.height else None)
    print(_report(estimate, height, source.pose))
    if drive.picture is not None:
        pose = estimate.pose(height or 1.0)
        unit = 'm' if height else 'heights'
        write_image(arguments.out, draw_ground_grid(drive.picture, calibration, pose, unit))
        print(f'\n{arguments.out}: horizon and grid on the ground, to be checked by eye')
    return code


class Speeds:
    """Speed of the vehicle at any time, m/s: constant, by odometry, or not known (NaN)."""

    def __init__(self, constant: Optional[float], readings: Optional[SpeedReadings]) -> None:
        self._constant = math.nan if constant is None else constant
        self._readings = readings

    def between(self, start: float, end: float) -> float:
        """Mean speed from `start` to `end`, s; NaN where the odometry does not reach."""
        if self._readings is None:
            return self._constant
        stamps, speeds = self._readings
        times = np.linspace(start, end, 11)
        return float(np.interp(times, stamps, speeds, math.nan, math.nan).mean())


class MountDrive:
    """The motions of a drive, and the picture of the straightest of them."""

    def __init__(
        self, calibration: Calibration, class_map: ClassMap, speeds: Speeds, frames: int
    ) -> None:
        every = _EVERY if frames > _SHORT else 0.0
        self._calibration = calibration
        self._tracker = EgoMotionTracker(calibration, StaticClasses(class_map), every)
        self._speeds = speeds
        self.motions: List[EgoMotion] = []
        self.speeds: List[float] = []
        self.picture: Optional[np.ndarray] = None
        self.unread = 0
        self._straightest = math.inf

    def watch(self, entries: Iterable[SourceFrame], mask: Callable[[Frame], np.ndarray]) -> None:
        """Track points through the frames of a recording.

        mask: segments the frames that points are tracked from.
        """
        for entry in entries:
            frame = entry.frame
            size = (self._calibration.width, self._calibration.height)
            if frame is None or (frame.width, frame.height) != size:
                self.unread += 1
                continue
            image, seconds = frame.bgr(), frame.stamp.ns * 1e-9
            motion = self._tracker.add(seconds, image, partial(mask, frame))
            if motion is not None:
                self._keep(motion, seconds, image)

    def estimate(self) -> MountEstimate:
        """The mount by all motions; raises MotionError, which says what was wrong with frames."""
        try:
            return estimate_mount(self.motions, self.speeds)
        except MotionError as error:
            failed = {why: self._tracker.outcomes[name] for name, why in WHY_NOT.items()}
            causes = [f'{count} times {why}' for why, count in failed.items() if count]
            raise MotionError('; '.join([str(error), *causes])) from error

    def _keep(self, motion: EgoMotion, seconds: float, image: np.ndarray) -> None:
        self.motions.append(motion)
        self.speeds.append(self._speeds.between(seconds - motion.seconds, seconds))
        turn = float(np.linalg.norm(motion.rotation)) / motion.seconds
        if turn < self._straightest:
            self._straightest, self.picture = turn, image.copy()


def _speeds(arguments: argparse.Namespace, source: Source) -> Speeds:
    """The speed by the arguments or the recording; raises SourceError."""
    if arguments.speed is not None:
        if arguments.odometry:
            raise SourceError('both --speed and --odometry are given; give one of them')
        return Speeds(arguments.speed, None)
    if isinstance(source, BagSource):
        return Speeds(None, source.speeds(arguments.odometry))
    if arguments.odometry:
        raise SourceError(f'--odometry {arguments.odometry}: only a bag has topics; give --speed')
    return Speeds(None, None)


def _report(found: MountEstimate, height: Optional[float], known: Optional[CameraPose]) -> str:
    """The estimate as a table, and as the lines of a parameter file."""
    rows = [
        _row('pitch', found.pitch, 'positive looks down', known.pitch if known else None),
        _row('yaw', found.yaw, 'positive turns left', known.yaw if known else None),
        _row(
            'roll', found.roll, 'positive tilts the right side down', known.roll if known else None
        ),
    ]
    if found.height is not None:
        value, sigma = found.height
        own = known.height if known else None
        rows.append(
            ('height', f'{value:.3f} m', f'{sigma:.3f}', 'by the speed', _known(own, ' m'))
        )
    lines = [format_table(('', 'found', 'sigma', '', 'the recording says' if known else ''), rows)]
    lines.append(f'by {found.motions} pairs of frames')
    if found.pace is not None and height is not None:
        lines[-1] += f', at {found.pace.value * height:.1f} m/s with a height of {height:.2f} m'
    if height is None:
        lines.append(_NO_SPEED if found.pace is not None else _NO_ROAD)
    if abs(found.yaw.value) > math.pi / 2:
        lines.append(_BACKWARDS)
    lines += ['', 'mount:']
    lines += [f'  height: {height:.3f}' if height else '  # height: by the tape measure, m']
    angles = {'pitch': found.pitch, 'roll': found.roll, 'yaw': found.yaw}
    lines += [f'  {name}: {measured.value:.4f}' for name, measured in angles.items()]
    return '\n'.join(lines)


_BACKWARDS = (
    'the vehicle moves away from what the camera looks at: unless this is a rear camera, the '
    'drive was backwards, or its frames are in the wrong order'
)
_NO_SPEED = 'height is not known: measure it and give --height, or give --speed or --odometry'
_NO_ROAD = (
    'height is not known: the road shows too little texture for the speed to tell it; measure it '
    'and give --height'
)


def _row(name: str, angle: Measured, words: str, known: Optional[float]) -> Tuple[str, ...]:
    value, sigma = (math.degrees(part) for part in angle)
    own = None if known is None else math.degrees(known)
    return name, f'{value:.2f} degrees', f'{sigma:.2f}', words, _known(own, ' degrees')


def _known(value: Optional[float], unit: str) -> str:
    return '' if value is None else f'{value:.2f}{unit}'
