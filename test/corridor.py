# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A street with two walls, seen by a camera that drives through it: exact, quick, textured."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import cv2
import numpy as np

from segformer_ros.camera import Calibration, CameraPose, EgoMotion, EgoMotionTracker
from segformer_ros.camera.ego_motion import StaticClasses
from segformer_ros.classes import load_class_map

CAMERA = Calibration.pinhole(480, 270, 75)
ROAD, BUILDING, SKY = 0, 2, 10
STEP = 0.1  # s
SPEED = 8.0  # m/s
_WALL, _TOP = 6.0, 7.0  # m aside, m high


class View(NamedTuple):
    """One frame: seconds, (H, W) uint8 grey and (H, W) uint8 labels."""

    seconds: float
    image: np.ndarray
    labels: np.ndarray


class Place(NamedTuple):
    """Where the vehicle is, m and rad; pitch and roll are its body's, as in CameraPose."""

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


def straight(frames: int, speed: float = SPEED) -> Iterator[Place]:
    """Places of a drive straight ahead, at an even speed."""
    return (Place(index * STEP * speed) for index in range(frames))


def see(place: Place, pose: CameraPose, camera: Calibration = CAMERA) -> tuple[np.ndarray, ...]:
    """Grey image and labels, (H, W) uint8 each."""
    body = CameraPose(1.0, place.pitch, place.roll, place.yaw).rotation()
    body = body @ CameraPose(1.0).rotation().T
    rays = camera.rays() @ (body @ pose.rotation()).T  # (H, W, 3)
    start = np.array([place.x, place.y, pose.height])
    with np.errstate(divide='ignore'):
        down = np.where(rays[..., 2] < 0, -start[2] / rays[..., 2], np.inf)
        side = np.where(rays[..., 1] > 0, _WALL - start[1], -_WALL - start[1]) / rays[..., 1]
    reach = np.minimum(down, side)
    far = ~(reach < 150)
    x, y, z = (start[axis] + np.where(far, 0, reach) * rays[..., axis] for axis in range(3))
    labels = np.where(down < side, ROAD, np.where(z < _TOP, BUILDING, SKY)).astype(np.uint8)
    labels[far] = SKY
    # Cells that are smaller than a pixel are even, as a camera sees them.
    road, wall = (
        sum(
            np.clip(cell * camera.fx / np.maximum(reach, 0.1) / 2 - 1, 0, 1)
            * (_at(_texture(seed, cell), x, where) - 128)
            for seed, cell in ((1, 0.15), (2, 0.4), (3, 1.0))
        )
        / 2
        + 128
        for where in (y, z + 20 * np.sign(y))
    )
    grey = np.clip(np.where(labels == ROAD, road, wall), 0, 255)
    grey = np.where(
        (labels == BUILDING) & (_at(_texture(4, 2.0), x, 7 * np.sign(y)) > 128), grey / 2, grey
    )
    grey[labels == SKY] = 220
    return cv2.GaussianBlur(grey.astype(np.uint8), (3, 3), 0), labels


def drive(places: Iterator[Place], pose: CameraPose) -> Iterator[View]:
    """The frames of a drive, ten a second."""
    for index, place in enumerate(places):
        yield View(1.0 + index * STEP, *see(place, pose))


def motions(views: Iterator[View], every: float = 0.0) -> list[EgoMotion]:
    """What a tracker tells of them."""
    tracker = EgoMotionTracker(CAMERA, StaticClasses(load_class_map('cityscapes')), every)
    found = [tracker.add(*view[:2], partial(getattr, view, 'labels')) for view in views]
    return [motion for motion in found if motion is not None]


@lru_cache
def _texture(seed: int, cell: float) -> tuple[np.ndarray, float]:
    """Random grey values (512, 512), and the size of one in metres."""
    return np.random.default_rng(seed).integers(40, 216, (512, 512)).astype(np.float32), cell


def _at(texture: tuple[np.ndarray, float], u: np.ndarray, v: np.ndarray) -> np.ndarray:
    values, cell = texture
    return values[np.floor(u / cell).astype(int) % 512, np.floor(v / cell).astype(int) % 512]


def painted(view: View) -> np.ndarray:
    """(H, W, 3) uint8 BGR in the classes' colours, which the fake engine tells apart."""
    colors = load_class_map('cityscapes').palette_bgr[view.labels].astype(np.float32)
    return (colors * (0.8 + 0.4 * view.image[..., None] / 255)).clip(0, 255).astype(np.uint8)
