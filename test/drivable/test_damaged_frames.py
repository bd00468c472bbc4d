# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Real frames with a piece of their JPEG data missing, zeroed or wrong never make free road."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.drivable import DrivableArea, DrivableAreaEstimator, DrivableConfig
from segformer_ros.engines import Engine, EngineOptions, Wanted, create_engine
from segformer_ros.formats import decode
from segformer_ros.formats.limits import FrameError
from segformer_ros.frame import Frame
from segformer_ros.model import load_model

COUNT, SEED = 288, 18
SIZES = (None, (640, 480), (1280, 720), (1920, 1080))
QUALITIES = (50, 75, 90)
FORMS = (
    (),
    (cv2.IMWRITE_JPEG_RST_INTERVAL, 8),
    (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
)
LENGTHS = (64, 256, 512, 1024, 3072)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The file with a piece of its entropy-coded data spoiled, and its end as it was."""
    at = data.index(b'\xff\xda')
    begin = at + 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
    length = min(chance.choice(LENGTHS), (len(data) - 2 - begin) // 3)
    at = chance.randrange(begin, len(data) - 2 - length)
    spoiled = chance.choice((b'', bytes(length), chance.randbytes(length)))
    return data[:at] + spoiled + data[at + length :]


def pairs(images: list[Path], seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Whole and damaged files, the same each time."""
    chance = random.Random(seed)
    for _ in range(COUNT):
        pixels = decoded(chance.choice(images).read_bytes())
        size = chance.choice(SIZES)
        if size:
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC))
        options = (cv2.IMWRITE_JPEG_QUALITY, chance.choice(QUALITIES), *chance.choice(FORMS))
        data = cv2.imencode('.jpg', pixels, options)[1].tobytes()
        yield data, damaged(data, chance)


def decoded(data: bytes) -> np.ndarray:
    return decode(np.frombuffer(data, np.uint8))


def area_of(engine: Engine, pixels: np.ndarray) -> DrivableArea:
    result = engine.segment([Frame.from_array(pixels)], Wanted(confidence=True))[0]
    estimator = DrivableAreaEstimator(DrivableConfig(), engine.spec.class_map)
    calibration = Calibration.pinhole(pixels.shape[1], pixels.shape[0], 70.0)
    return estimator.update(result.labels, result.confidence, calibration, CameraPose(1.5))


@pytest.mark.slow
def test_no_damaged_frame_makes_more_free_road_than_the_whole_one(camvid: Path) -> None:
    spec = load_model('')
    images = sorted((camvid / 'val' / 'images').glob('*.jpg'))
    refused = 0
    with create_engine(spec, 'auto', EngineOptions()) as engine:
        for whole, spoiled in pairs(images, SEED):
            try:
                pixels = decoded(spoiled)
            except FrameError:
                refused += 1
                continue
            true, seen = area_of(engine, decoded(whole)), area_of(engine, pixels)
            sigma = seen.corridor.sigma if math.isfinite(seen.corridor.sigma) else 0.0
            assert seen.corridor.distance <= true.corridor.distance + sigma
    assert refused > COUNT * 0.85
