# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Recordings whose masks are known: painted in the classes' colours for the fake engine."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import recordings

from segformer_ros.camera import CameraPose
from segformer_ros.classes import load_class_map
from segformer_ros.evaluation.job import EvaluationJob, ModelChoice
from segformer_ros.frame import Frame
from segformer_ros.recordings import SourceOptions
from segformer_ros.recordings.bag_writer import mount_message

CITYSCAPES = load_class_map('cityscapes')
SIZE = (64, 128)
"""Height and width of the frames."""
FAKE = ModelChoice(engine='fake')


def mask(index: int) -> np.ndarray:
    """What frame `index` shows: (H, W) uint8 train ids, in blocks of 16."""
    rng = np.random.default_rng(index)
    labels = np.zeros((4, 8), np.uint8)
    labels[0] = 10
    labels[1] = rng.choice([2, 8, 11, 13], 8)
    return cv2.resize(labels, SIZE[::-1], interpolation=cv2.INTER_NEAREST)


def truth(index: int) -> np.ndarray:
    """Labels of frame `index`: the mask with some blocks of other classes, and void above."""
    rng = np.random.default_rng(1000 + index)
    labels = mask(index)
    for _ in range(4):
        top, left = int(rng.integers(1, 4)) * 16, int(rng.integers(0, 8)) * 16
        labels[top : top + 16, left : left + 16] = rng.choice([0, 1, 13, 18])
    labels[:4] = 255
    return labels


def paint(labels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 BGR in the classes' colours."""
    return CITYSCAPES.palette_bgr[labels]


def write_folders(root: Path, count: int) -> tuple[Path, Path]:
    """A folder of images and one of labels."""
    for index in range(count):
        recordings.write_png(root / f'images/frame{index:04d}.png', paint(mask(index)))
        recordings.write_png(root / f'labels/frame{index:04d}.png', truth(index))
    return root / 'images', root / 'labels'


def write_bag(
    path: Path, count: int, storage: str = 'mcap', pose: CameraPose | None = None
) -> Path:
    """A bag with raw images and labels of the same stamps; with a pose, the camera's too."""
    with recordings.open_bag(path, storage) as writer:
        bag = recordings.BagRecorder(writer)
        camera = bag.topic('/image', recordings.IMAGE)
        labels = bag.topic('/labels', recordings.IMAGE)
        if pose is not None:
            info, mount = (
                bag.topic('/camera_info', recordings.INFO),
                bag.topic('/tf_static', recordings.TF),
            )
            bag.write(info, recordings.camera_info(size=SIZE), recordings.START_NS)
            placed = mount_message(pose, 'base_link', 'front_optical', recordings.START_NS)
            bag.write(mount, placed, recordings.START_NS)
        for index in range(count):
            time = recordings.stamp_ns(index)
            bag.write(camera, recordings.image(paint(mask(index)), 'bgr8', time), time)
            bag.write(labels, recordings.image(truth(index), 'mono8', time), time)
    return path


def predicted(count: int) -> list[np.ndarray]:
    """The fake engine's masks: those of `mask`, but for pixels between two colours."""
    with FAKE.create() as engine:
        frames = [Frame.from_array(paint(mask(index))) for index in range(count)]
        return [result.labels for result in engine.segment(frames)]


def folder_job(root: Path, count: int) -> EvaluationJob:
    """A job over folders of `count` frames with the fake engine."""
    images, labels = write_folders(root, count)
    return EvaluationJob((str(images),), SourceOptions(labels=labels), FAKE, shard_frames=16)


def bag_job(path: Path) -> EvaluationJob:
    """A job over a bag that `write_bag` wrote."""
    options = SourceOptions(label_topic='/labels')
    return EvaluationJob((str(path),), options, FAKE, shard_frames=16)
