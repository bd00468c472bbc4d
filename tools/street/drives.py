# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Ready-made drives: random cameras and streets for training, a pretty one for the demo."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import numpy as np

from segformer_ros.camera import Calibration, CameraPose
from tools.street.drive import Drive
from tools.street.layout import stream
from tools.street.lens import Lens
from tools.street.presets import sample_scene


def random_drive(
    seed: int,
    width: int,
    height: int,
    fps: float = 1.0,
    frames: int = 10,
    light: Optional[str] = None,
    distorted: float = 0.3,
) -> Drive:
    """A drive with a random street, light and camera.

    ``light`` fixes the kind of light (street.light.LIGHTS); ``distorted`` is the chance of a lens
    with visible distortion. The default rate of 1 Hz makes the frames of one drive differ.
    """
    rng = stream(seed, 60)
    calibration = Calibration.pinhole(width, height, float(rng.uniform(45, 100)))
    if rng.random() < distorted:
        calibration = _distorted(calibration, float(rng.uniform(-0.3, 0.05)))
    pose = CameraPose(
        float(rng.uniform(1.0, 2.0)),
        pitch=float(rng.normal(0.03, 0.05)),
        roll=float(rng.normal(0, 0.015)),
        yaw=float(rng.normal(0, 0.04)),
        y=float(rng.uniform(-0.3, 0.3)),
    )
    lens = Lens(
        blur=float(rng.uniform(0.3, 0.9)),
        vignette=float(rng.uniform(0, 0.4)),
        noise=float(rng.uniform(0.5, 6)),
        balance=tuple(rng.uniform(0.96, 1.04, 3).tolist()),
        saturation=float(rng.uniform(0.55, 1.15)),
    )
    return Drive(
        seed,
        calibration,
        pose,
        fps,
        frames,
        sample_scene(seed, light),
        lens,
        start=float(rng.uniform(0, 60)),
    )


def _distorted(pinhole: Calibration, k1: float) -> Calibration:
    """The camera with a lens of barrel (k1 < 0) or pincushion distortion.

    A strong k1 is weakened until every pixel has a ray.
    """
    corners = np.array([(u, v) for u in (0, pinhole.width - 1) for v in (0, pinhole.height - 1)])
    while True:
        lens = replace(pinhole, model='plumb_bob', distortion=(k1, 0.3 * k1 * k1, 0.0, 0.0, 0.0))
        if np.isfinite(lens.unproject(corners)).all():
            return lens
        k1 /= 2


def demo_drive(
    frames: int = 100, seed: int = 7, width: int = 640, height: int = 360, fps: float = 10.0
) -> Drive:
    """The drive of the demo: a street by day, seen by a camera behind a windscreen."""
    calibration = Calibration.pinhole(width, height, 70)
    pose = CameraPose(1.4, pitch=np.deg2rad(2.0))
    return Drive(seed, calibration, pose, fps, frames, sample_scene(seed, 'day'))
