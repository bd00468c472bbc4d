# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The drive that is shipped with the package, as a bag: ./run python -m tools.sample_drive.

Six seconds of a generated street with labels, calibration and mount, small enough to install.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from segformer_ros import topics
from segformer_ros.camera import camera_info_fields
from segformer_ros.drivable import odometry_fields
from segformer_ros.recordings import SAMPLE_BAG, BagWriter
from segformer_ros.recordings.bag_writer import (
    header_fields,
    jpeg_fields,
    mount_message,
)
from segformer_ros.recordings.source import CAMERA_FRAME, made_up_stamp
from tools.street.drive import Drive
from tools.street.drives import demo_drive

REPO = Path(__file__).resolve().parents[1]
FRAMES, FPS, JPEG_QUALITY = 60, 10.0, 88
VEHICLE_FRAME = 'base_link'

_IMAGE = topics.recorded(topics.COMPRESSED_IMAGE)
_LABELS = topics.recorded(topics.COMPRESSED_LABELS)
_INFO = topics.recorded(topics.CAMERA_INFO)
_ODOMETRY = topics.recorded(topics.ODOMETRY)


def sample_drive() -> Drive:
    """The drive that is shipped, frame by frame."""
    return demo_drive(frames=FRAMES, fps=FPS)


def write_sample(path: Path) -> None:
    """Write the bag; the same bytes each time, with the same OpenCV and mcap."""
    drive = sample_drive()
    with BagWriter(path) as bag:
        bag.add_topic(topics.TF_STATIC, topics.TF_TYPE, latched=True)
        bag.add_topic(_INFO, topics.CAMERA_INFO_TYPE)
        bag.add_topic(_ODOMETRY, topics.ODOMETRY_TYPE)
        bag.add_topic(_LABELS, topics.COMPRESSED_TYPE)
        bag.add_topic(_IMAGE, topics.COMPRESSED_TYPE)
        first = made_up_stamp(0, FPS).ns
        mount = mount_message(drive.pose, VEHICLE_FRAME, CAMERA_FRAME, first)
        bag.write_message(topics.TF_STATIC, mount, first)
        for index in tqdm(range(len(drive)), unit='frame'):
            stamp, frame = made_up_stamp(index, FPS), drive[index]
            header = header_fields(stamp, CAMERA_FRAME)
            calibration = {'header': header, **camera_info_fields(drive.calibration)}
            bag.write_fields(_INFO, calibration, stamp.ns)
            odometry = odometry_fields(drive.place(index), VEHICLE_FRAME)
            in_odom = {'header': header_fields(stamp, topics.ODOMETRY)}
            bag.write_fields(_ODOMETRY, {**in_odom, **odometry}, stamp.ns)
            bag.write_fields(_LABELS, png_fields(header, frame.labels), stamp.ns)
            image = jpeg_fields(header, frame.image, JPEG_QUALITY)
            bag.write_fields(_IMAGE, image, stamp.ns)


def png_fields(header: dict[str, object], labels: np.ndarray) -> dict[str, object]:
    """Fields of sensor_msgs/CompressedImage of (H, W) uint8 labels, as a PNG."""
    _, data = cv2.imencode('.png', labels)
    return {'header': header, 'format': 'mono8; png compressed mono8', 'data': data.ravel()}


def main() -> None:
    """Write the bag where the package has it, or elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=REPO / SAMPLE_BAG)
    path = parser.parse_args().out
    path.unlink(missing_ok=True)
    write_sample(path)
    print(f'{path}: {path.stat().st_size / 2**20:.1f} MiB')


if __name__ == '__main__':
    main()
