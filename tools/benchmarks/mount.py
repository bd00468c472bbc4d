# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How true `segformer mount` is: ./run python -m tools.benchmarks.mount.

Each generated drive has its own street, light, lens and mount. It is written as a bag with the
speed as odometry, and kept, so that the verb can be tried on it too.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from segformer_ros import Segmenter, topics
from segformer_ros.camera import (
    CameraPose,
    Measured,
    MotionError,
    MountEstimate,
    camera_info_fields,
)
from segformer_ros.classes import load_class_map
from segformer_ros.cli.mount import MountDrive, Speeds
from segformer_ros.frame import Frame
from segformer_ros.recordings import BagWriter, Source, SourceFrame, SourceOptions, open_source
from segformer_ros.recordings.bag_source import BagSource
from segformer_ros.recordings.bag_writer import header_fields, jpeg_fields, mount_message
from segformer_ros.recordings.source import CAMERA_FRAME, made_up_stamp
from segformer_ros.text_table import markdown_table
from tools.street.drive import Drive
from tools.street.drives import random_drive

FPS, QUALITY = 10.0, 90
ODOMETRY = '/odom'
_IMAGE = topics.recorded(topics.COMPRESSED_IMAGE)
_LABELS = topics.recorded(topics.COMPRESSED_LABELS)
_INFO = topics.recorded(topics.CAMERA_INFO)
_DT = 1e-3  # s, of the speed


class Result(NamedTuple):
    """What was found of one drive; None and why where it was refused."""

    seed: int
    truth: CameraPose
    found: MountEstimate | None
    refusal: str


def write_drive(path: Path, drive: Drive) -> None:
    """A bag with images, labels, calibration, mount and speed of a drive."""
    with BagWriter(path) as bag:
        bag.add_topic(topics.TF_STATIC, topics.TF_TYPE, latched=True)
        bag.add_topic(ODOMETRY, topics.ODOMETRY_TYPE)
        for topic, kind in ((_INFO, topics.CAMERA_INFO_TYPE), *_PICTURES):
            bag.add_topic(topic, kind)
        first = made_up_stamp(0, drive.fps).ns
        mount = mount_message(drive.pose, 'base_link', CAMERA_FRAME, first)
        bag.write_message(topics.TF_STATIC, mount, first)
        for index in tqdm(range(len(drive)), unit='frame', desc=path.stem):
            stamp, frame = made_up_stamp(index, drive.fps), drive[index]
            header = header_fields(stamp, CAMERA_FRAME)
            info = {'header': header, **camera_info_fields(drive.calibration)}
            bag.write_fields(_INFO, info, stamp.ns)
            bag.write_fields(_IMAGE, jpeg_fields(header, frame.image, QUALITY), stamp.ns)
            _, png = cv2.imencode('.png', frame.labels)
            labels = {'header': header, 'format': 'png', 'data': png.ravel()}
            bag.write_fields(_LABELS, labels, stamp.ns)
            speed = speed_of(drive, drive.start + index / drive.fps)
            header = header_fields(stamp, 'odom')
            bag.write_fields(ODOMETRY, _odometry(header, speed), stamp.ns)


_PICTURES = ((_IMAGE, topics.COMPRESSED_TYPE), (_LABELS, topics.COMPRESSED_TYPE))


def speed_of(drive: Drive, t: float) -> float:
    """Speed of the vehicle, m/s."""
    before, after = (np.array(drive.scene.ego.place(t + step)[:2]) for step in (-_DT, _DT))
    return float(np.linalg.norm(after - before) / (2 * _DT))


def _odometry(header: dict[str, object], speed: float) -> dict[str, object]:
    still = {'x': 0.0, 'y': 0.0, 'z': 0.0}
    pose = {'position': still, 'orientation': {**still, 'w': 1.0}}
    twist = {'linear': {**still, 'x': speed}, 'angular': still}
    return {
        'header': header,
        'child_frame_id': 'base_link',
        'pose': {'pose': pose, 'covariance': np.zeros(36)},
        'twist': {'twist': twist, 'covariance': np.zeros(36)},
    }


class _Watched:
    """Entries of a source, one after another; `labels` of the last one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._last: SourceFrame | None = None

    def __iter__(self) -> Iterator[SourceFrame]:
        for entry in self._source:
            self._last = entry
            yield entry

    def labels(self, frame: Frame) -> np.ndarray:
        """True labels."""
        assert self._last is not None
        assert self._last.labels is not None
        return self._last.labels


def measure(path: Path, seed: int, segment: Segmenter | None) -> Result:
    """The mount that a bag tells; segment: makes the masks, None for true labels."""
    source = open_source(path, SourceOptions(label_topic=_LABELS))
    assert isinstance(source, BagSource)
    assert source.calibration is not None
    assert source.pose is not None
    speeds = Speeds(None, source.speeds(ODOMETRY))
    drive = MountDrive(source.calibration, load_class_map('cityscapes'), speeds, len(source))
    watched = _Watched(source)
    drive.watch(watched, (lambda frame: segment(frame).labels) if segment else watched.labels)
    try:
        return Result(seed, source.pose, drive.estimate(), '')
    except MotionError as error:
        return Result(seed, source.pose, None, str(error))


def report(results: list[Result]) -> str:
    """Errors of each drive and their summary, as Markdown."""
    rows: list[tuple[object, ...]] = []
    errors, scores = [], []
    for seed, truth, found, refusal in results:
        if found is None:
            rows.append((seed, refusal.split(';')[0], '', '', '', ''))
            continue
        angles = [
            Measured(math.degrees(one.value - true), math.degrees(one.sigma))
            for one, true in (
                (found.pitch, truth.pitch), (found.yaw, truth.yaw), (found.roll, truth.roll)
            )
        ]  # fmt: skip
        height = Measured(math.nan, math.nan)
        if found.height is not None:
            high = truth.height / 100
            height = Measured(found.height.value / high - 100, found.height.sigma / high)
        all_four = [*angles, height]
        errors.append([one.value for one in all_four])
        scores.append([one.value / one.sigma for one in all_four])
        cells = [f'{one.value:+.2f} +- {one.sigma:.2f}' for one in all_four]
        rows.append((seed, found.motions, *cells))
    header = ('drive', 'pairs of frames', 'pitch, degrees', 'yaw, degrees', 'roll, degrees',
              'height, %')  # fmt: skip
    if errors:
        off, sigmas = np.abs(errors), np.square(scores)
        rows.append(('median', '', *(f'{one:.2f}' for one in np.nanmedian(off, axis=0))))
        rows.append(('worst', '', *(f'{one:.2f}' for one in np.nanmax(off, axis=0))))
        spread = np.sqrt(np.nanmean(sigmas, axis=0))
        rows.append(('error / sigma, rms', '', *(f'{one:.2f}' for one in spread)))
    return markdown_table(header, rows)


def main() -> None:
    """Write the drives that are not there yet, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--drives', type=int, default=20)
    parser.add_argument('--first-seed', type=int, default=0)
    parser.add_argument('--frames', type=int, default=600, help='at 10 Hz')
    parser.add_argument('--folder', type=Path, default=Path('out/mount'), help='of the bags')
    parser.add_argument('--masks', choices=('labels', 'model'), default='labels')
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results = []
    segment = Segmenter() if arguments.masks == 'model' else None
    if segment is not None:
        segment.open()
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.drives):
        path = arguments.folder / f'drive_{seed:03d}.mcap'
        if not path.exists():
            write_drive(path, random_drive(seed, 640, 360, FPS, arguments.frames))
        results.append(measure(path, seed, segment))
        print(report(results[-1:]).splitlines()[2], flush=True)
    if segment is not None:
        segment.close()
    print(report(results))


if __name__ == '__main__':
    main()
