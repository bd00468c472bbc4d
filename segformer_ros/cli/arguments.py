# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Command line arguments that several subcommands share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Callable, List, Optional, Tuple, TypeVar

from segformer_ros.camera import CameraError, CameraPose
from segformer_ros.engines import (
    ENGINES,
    UPSAMPLING,
    Engine,
    EngineOptions,
    create_engine,
    model_for,
)
from segformer_ros.engines.engine import INFERENCE
from segformer_ros.formats import BITS
from segformer_ros.formats.limits import MAX_MEGAPIXELS
from segformer_ros.model import Declared, ModelSpec
from segformer_ros.recordings import SourceOptions

N = TypeVar('N', int, float)


def whole(low: int, high: Optional[int] = None) -> Callable[[str], int]:
    """Type of an argument: a whole number, `low` or more, at most `high`."""
    words = f'{low} or more' if high is None else f'from {low} to {high}'

    def read(text: str) -> int:
        value = _read(int, text, f'a whole number, {words}')
        if value < low or (high is not None and value > high):
            raise _refusal(text, f'a whole number, {words}')
        return value

    return read


def number(
    low: float = -math.inf, high: float = math.inf, above: bool = False
) -> Callable[[str], float]:
    """Type of an argument: a finite number from `low` to `high`; `above`: more than `low`."""
    words = f'a number{_limits(low, high, above)}'

    def read(text: str) -> float:
        value = _read(float, text, words)
        outside = not low <= value <= high or (above and value == low)
        if outside or not math.isfinite(value):
            raise _refusal(text, words)
        return value

    return read


def wholes(high: Optional[int] = None) -> Callable[[str], List[int]]:
    """Type of an argument: positive whole numbers, at most `high`, as in 1,2,4."""
    words = 'positive whole numbers' if high is None else f'whole numbers from 1 to {high}'

    def read(text: str) -> List[int]:
        parts = [part.strip() for part in text.split(',')]
        values = [int(part) if part.isdecimal() else 0 for part in parts]
        if min(values) < 1 or (high is not None and max(values) > high):
            raise _refusal(text, f'a list of {words}, as in 1,2,4')
        return values

    return read


def size(text: str) -> Tuple[int, int]:
    """Type of an argument: WIDTHxHEIGHT; returns (height, width)."""
    width, _, height = text.lower().partition('x')
    sides = (height, width)
    if not all(side.isdecimal() and int(side) for side in sides):
        raise _refusal(text, 'WIDTHxHEIGHT in pixels, as in 1920x1080')
    return int(height), int(width)


def _limits(low: float, high: float, above: bool) -> str:
    if above:
        return f' above {low:g}' + (f', at most {high:g}' if high < math.inf else '')
    if high < math.inf:
        return f' from {low:g} to {high:g}'
    return f', {low:g} or more' if low > -math.inf else ''


def _read(kind: Callable[[str], N], text: str, words: str) -> N:
    try:
        return kind(text)
    except ValueError:
        raise _refusal(text, words) from None


def _refusal(text: str, words: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f'{text!r} is not {words}')


MAX_THREADS = 1024
LOCATION_HELP = (
    'bag, video, image, folder of images, Cityscapes folder, sample: (a short drive, shipped), '
    'or street:[SEED][:FRAMES] (a generated one)'
)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """--model, --classes, --engine and related options."""
    group = parser.add_argument_group('model')
    group.add_argument(
        '-c', '--model', '--config', default='', metavar='FILE',
        help='ONNX file, DeepStream configuration, or tiny (default: the bundled model)',
    )  # fmt: skip
    group.add_argument('--classes', default='', help='class map: a preset, a yaml or a labels.txt')
    group.add_argument(
        '--engine', default='auto', choices=('auto', *ENGINES), help='what runs the network'
    )
    group.add_argument('--precision', default='auto', help='arithmetic of the network')
    group.add_argument(
        '--threads',
        type=whole(0, MAX_THREADS),
        default=0,
        help='CPU threads; 0: the engine chooses',
    )
    group.add_argument(
        '--inference', default='whole', choices=INFERENCE,
        help="whole: resize frames to the network's input; slide: windows at the frame's scale",
    )  # fmt: skip


def add_upsampling_argument(parser: argparse.ArgumentParser) -> None:
    """--upsampling, for what makes masks from logits."""
    parser.add_argument(
        '--upsampling', default='exact', choices=UPSAMPLING,
        help='exact: upsample the logits, then take the best class; fast: repeat the cells',
    )  # fmt: skip


def model_spec(arguments: argparse.Namespace, declared: Optional[Declared] = None) -> ModelSpec:
    """The model that the arguments name; raises ModelError and ClassMapError.

    declared: more declarations about the model.
    """
    return model_for(arguments.engine, arguments.model, arguments.classes, declared or Declared())


def engine_of(arguments: argparse.Namespace, spec: ModelSpec) -> Engine:
    """The engine that the arguments name, not yet active; raises EngineError."""
    return create_engine(spec, arguments.engine, engine_options(arguments))


def engine_options(arguments: argparse.Namespace) -> EngineOptions:
    """How the arguments set the engine up."""
    return EngineOptions(
        precision=arguments.precision,
        threads=arguments.threads,
        inference=arguments.inference,
    )


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """--topic, --labels and related options."""
    group = parser.add_argument_group('recording')
    group.add_argument('--topic', default='', help='image topic of a bag with several cameras')
    group.add_argument('--labels', type=Path, help='folder of label images KEY.png (train ids)')
    add_label_arguments(group)
    group.add_argument('--label-topic', default='', help='topic of a bag with label images')
    group.add_argument(
        '--label-tolerance', type=number(0, 10), default=0.0, metavar='S',
        help="seconds by which a label's stamp may differ from its image's (default: 0, exact)",
    )  # fmt: skip
    group.add_argument(
        '--fps', type=number(0.01, 1000), default=10.0,
        help='frames per second of sources without stamps (default: 10)',
    )  # fmt: skip
    group.add_argument(
        '--max-megapixels', type=number(0, 2000, above=True), default=MAX_MEGAPIXELS, metavar='N',
        help=f'images and labels larger than this are not read (default: {MAX_MEGAPIXELS:g})',
    )  # fmt: skip
    group.add_argument(
        '--camera-info', type=Path, metavar='FILE',
        help="the camera's calibration, instead of the recording's own: a yaml of ROS's "
        'camera_calibration, of Kalibr (FILE#cam1) or of a CameraInfo',
    )  # fmt: skip
    group.add_argument(
        '--bits', type=int, default=0, choices=BITS,
        help='bit depth of the camera, for 16-bit images (default: found from the images)',
    )  # fmt: skip
    group.add_argument(
        '--vehicle-frame', default=SourceOptions.vehicle_frame, metavar='FRAME',
        help="frame on the ground relative to which a bag's /tf_static places the camera "
        '(default: base_link)',
    )  # fmt: skip


def add_label_arguments(parser: argparse._ActionsContainer) -> None:
    """--label-ids and --label-colors, for labels that are not train ids."""
    parser.add_argument(
        '--label-ids', default='', metavar='MAP',
        help="labels hold a data set's own ids, of this class map (a preset such as cityscapes, "
        'or a yaml); train: they are train ids, whatever they look like',
    )  # fmt: skip
    parser.add_argument(
        '--label-colors', default='', metavar='MAP',
        help='labels hold the colours of this class map (a preset such as camvid, or a yaml)',
    )  # fmt: skip


def add_camera_arguments(parser: argparse._ActionsContainer) -> None:
    """--height, --pitch and --hfov, for a camera that the recording does not know."""
    parser.add_argument(
        '--height', type=number(0, 100, above=True), help='height of the lens above the ground, m'
    )
    parser.add_argument(
        '--pitch', type=number(-90, 90), help='pitch in degrees, positive looks down (default: 0)'
    )
    parser.add_argument(
        '--hfov', type=number(1, 179),
        help='horizontal field of view of a camera without calibration, degrees',
    )  # fmt: skip


def camera_pose(arguments: argparse.Namespace) -> Optional[CameraPose]:
    """The pose that --height and --pitch describe, None without; raises CameraError."""
    if arguments.height is None:
        if arguments.pitch is not None:
            raise CameraError('--pitch needs --height; give the height too, in m')
        return None
    return CameraPose(arguments.height, pitch=math.radians(arguments.pitch or 0.0))


def add_merge_argument(parser: argparse._ActionsContainer) -> None:
    """--merge, for labels that do not distinguish all classes."""
    parser.add_argument(
        '--merge', action='append', default=[], metavar='A,B',
        help='score classes as one, as in --merge rider,bicycle; may be repeated',
    )  # fmt: skip


def merged_classes(arguments: argparse.Namespace) -> Tuple[Tuple[str, ...], ...]:
    """Groups of class names that --merge joins."""
    return tuple(tuple(name.strip() for name in text.split(',')) for text in arguments.merge)


def source_options(arguments: argparse.Namespace) -> SourceOptions:
    """How the arguments say to read a recording; raises SourceError."""
    labels: Optional[Path] = arguments.labels
    return SourceOptions(
        topic=arguments.topic,
        label_topic=arguments.label_topic,
        label_tolerance=arguments.label_tolerance,
        labels=labels,
        label_ids=arguments.label_ids,
        label_colors=arguments.label_colors,
        fps=arguments.fps,
        max_megapixels=arguments.max_megapixels,
        vehicle_frame=arguments.vehicle_frame,
        camera_info=arguments.camera_info,
        bits=arguments.bits,
    )
