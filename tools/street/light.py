# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Light and weather: from albedo in shade or sun to the colour that the camera records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, Tuple

import numpy as np

Color = Tuple[float, float, float]  # BGR


@dataclass(frozen=True)
class Light:
    """Linear light; colours are BGR, 1.0 being a white surface at mid exposure.

    Where ``lamps`` are lit, ``sun`` is their light in the middle of its pool on the ground.
    """

    name: str
    sun: Color  # direct light on a surface facing it
    ambient: Color  # light of the sky
    azimuth: float = 0.6  # of the sun, radians from +x to the left
    elevation: float = 0.8  # of the sun, radians
    zenith: Color = (0.9, 0.6, 0.35)
    horizon: Color = (1.0, 0.95, 0.9)
    clouds: float = 0.3  # share of the sky
    cloud: Color = (1.1, 1.1, 1.1)
    fog: float = 0.001  # extinction per metre
    wet: float = 0.0  # 0..1
    snow: float = 0.0  # 0..1
    lamps: float = 0.0  # brightness of lit windows and lamps, 0 by day
    exposure: float = 1.0
    contrast: float = 1.0
    _tables: Dict[Tuple[int, ...], np.ndarray] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @property
    def direction(self) -> np.ndarray:
        """Unit vector to the sun, world frame."""
        level = np.cos(self.elevation)
        return np.array(
            [level * np.cos(self.azimuth), level * np.sin(self.azimuth), np.sin(self.elevation)]
        )

    @property
    def casts(self) -> bool:
        """Whether the sun is strong enough for visible shadows."""
        return self.sun[1] > 0.3 and not self.lamps

    @property
    def clear_sky(self) -> float:
        """What the haze leaves of the sky, 0..1."""
        return 1.0 if self.fog < 0.006 else 0.3

    def expose(self, radiance: np.ndarray) -> np.ndarray:
        """Linear light (..., 3) -> BGR 0..255 float: exposure, soft shoulder, gamma."""
        x = np.maximum(radiance * self.exposure, 0)
        shoulder = x * (1 + x / 6) / (1 + x * 0.75)
        value = np.clip(shoulder, 0, 1) ** (self.contrast / 2.2)
        return value * 255

    def tone(
        self, sunlit: float, tint: Color = (1, 1, 1), sky: float = 1.0, glow: float = 0.0
    ) -> np.ndarray:
        """Table (256, 1, 3) uint8 from albedo to colour; tables are kept.

        ``sunlit`` is the cosine to the sun times visibility, ``sky`` the share of sky light,
        ``glow`` light of the surface's own.
        """
        key = tuple(round(v * 32) for v in (sunlit, sky, glow) + tint)
        if key not in self._tables:
            albedo = (np.arange(256) / 255.0) ** 2.2
            light = (
                np.array(self.ambient) * (key[1] / 32)
                + np.array(self.sun) * (key[0] / 32)
                + key[2] / 32
            )
            rgb = albedo[:, None] * light * (np.array(key[3:]) / 32)
            self._tables[key] = np.rint(self.expose(rgb)).astype(np.uint8)[:, None]
        return self._tables[key]


def _jitter(rng: np.random.Generator, color: Color, amount: float) -> Color:
    """A colour with its brightness changed by up to ``amount`` and its hue by a third of it."""
    gain = rng.uniform(1 - amount, 1 + amount) * rng.uniform(1 - amount / 3, 1 + amount / 3, 3)
    b, g, r = (float(c * f) for c, f in zip(color, gain, strict=False))
    return b, g, r


def sample_light(rng: np.random.Generator, name: str) -> Light:
    """A random light of a kind: one of LIGHTS."""
    return LIGHTS[name](rng)


def _day(rng: np.random.Generator) -> Light:
    haze = float(rng.uniform(0, 1))
    return Light(
        'day',
        _jitter(rng, (1.75, 1.95, 2.1), 0.15),
        _jitter(rng, (0.62, 0.54, 0.5), 0.2),
        azimuth=float(rng.uniform(0, 2 * np.pi)),
        elevation=float(rng.uniform(0.4, 1.1)),
        zenith=_jitter(rng, (2.2 + haze, 1.5 + haze, 0.9 + haze), 0.2),
        horizon=_jitter(rng, (3.2, 3.0, 2.9), 0.1),
        clouds=float(rng.uniform(0, 0.8)),
        cloud=(3.2, 3.2, 3.2),
        fog=float(rng.uniform(0.0003, 0.0025)),
        exposure=float(rng.uniform(0.6, 1.4)),
        contrast=float(rng.uniform(1.05, 1.6)),
    )


def _overcast(rng: np.random.Generator) -> Light:
    sky = _jitter(rng, (3.3, 3.2, 3.15), 0.15)
    return Light(
        'overcast',
        (0.1, 0.1, 0.1),
        _jitter(rng, (1.05, 1.0, 0.97), 0.1),
        azimuth=float(rng.uniform(0, 6.28)),
        elevation=1.0,
        zenith=sky,
        horizon=_jitter(rng, sky, 0.05),
        clouds=float(rng.uniform(0.2, 1)),
        cloud=_jitter(rng, (2.6, 2.6, 2.6), 0.3),
        fog=float(rng.uniform(0.0005, 0.005)),
        wet=float(rng.choice([0.0, 0.0, 0.5])),
        exposure=float(rng.uniform(0.6, 1.4)),
        contrast=float(rng.uniform(1.05, 1.6)),
    )


def _low_sun(rng: np.random.Generator) -> Light:
    return Light(
        'low sun',
        _jitter(rng, (1.3, 1.9, 2.6), 0.15),
        _jitter(rng, (0.6, 0.5, 0.5), 0.2),
        azimuth=float(rng.uniform(0, 6.28)),
        elevation=float(rng.uniform(0.12, 0.45)),
        zenith=_jitter(rng, (2.2, 1.7, 1.3), 0.2),
        horizon=_jitter(rng, (3.0, 3.1, 3.3), 0.1),
        clouds=float(rng.uniform(0, 0.6)),
        cloud=_jitter(rng, (2.6, 2.7, 3.0), 0.1),
        fog=float(rng.uniform(0.0005, 0.004)),
        exposure=float(rng.uniform(0.7, 1.5)),
        contrast=float(rng.uniform(1.05, 1.6)),
    )


def _dusk(rng: np.random.Generator) -> Light:
    level = float(rng.uniform(0.5, 1))
    return Light(
        'dusk',
        (0.04, 0.08, 0.11),
        _jitter(rng, (0.16, 0.14, 0.13), 0.15),
        azimuth=float(rng.uniform(0, 6.28)),
        elevation=1.2,
        zenith=_jitter(rng, (0.6 * level, 0.55 * level, 0.5 * level), 0.2),
        horizon=_jitter(rng, (1.15, 1.15, 1.15), 0.25),
        clouds=float(rng.uniform(0.3, 1)),
        cloud=_jitter(rng, (0.55, 0.53, 0.52), 0.3),
        fog=float(rng.uniform(0.0005, 0.003)),
        lamps=0.8,
        wet=float(rng.choice([0.0, 0.0, 0.6])),
        exposure=float(rng.uniform(0.6, 1.2)),
        contrast=float(rng.uniform(1.0, 1.35)),
    )


def _night(rng: np.random.Generator) -> Light:
    return Light(
        'night',
        _jitter(rng, (0.22, 0.38, 0.48), 0.4),
        _jitter(rng, (0.045, 0.06, 0.075), 0.3),
        azimuth=0.0,
        elevation=1.2,
        zenith=_jitter(rng, (0.03, 0.022, 0.02), 0.3),
        horizon=_jitter(rng, (0.06, 0.06, 0.07), 0.3),
        clouds=0.3,
        cloud=(0.05, 0.05, 0.06),
        fog=float(rng.uniform(0.0005, 0.003)),
        wet=float(rng.choice([0.0, 0.7])),
        lamps=1.0,
        exposure=float(rng.uniform(0.9, 1.8)),
        contrast=float(rng.uniform(1, 1.2)),
    )


def _fog(rng: np.random.Generator) -> Light:
    sky = _jitter(rng, (1.1, 1.1, 1.1), 0.08)
    return Light(
        'fog',
        (0.05, 0.05, 0.05),
        _jitter(rng, (0.75, 0.73, 0.7), 0.08),
        azimuth=0.0,
        elevation=1.2,
        zenith=sky,
        horizon=sky,
        clouds=0.2,
        cloud=sky,
        fog=float(rng.uniform(0.008, 0.03)),
        wet=float(rng.choice([0.0, 0.4])),
        exposure=float(rng.uniform(0.8, 1.3)),
    )


def _snow(rng: np.random.Generator) -> Light:
    sky = _jitter(rng, (1.7, 1.65, 1.6), 0.06)
    return Light(
        'snow',
        (0.1, 0.1, 0.1),
        _jitter(rng, (1.05, 1.0, 0.95), 0.06),
        azimuth=0.0,
        elevation=1.0,
        zenith=sky,
        horizon=sky,
        clouds=0.5,
        cloud=sky,
        fog=float(rng.uniform(0.003, 0.012)),
        wet=0.3,
        snow=float(rng.uniform(0.4, 1)),
        exposure=float(rng.uniform(0.6, 1.0)),
    )


LIGHTS: Dict[str, Callable[[np.random.Generator], Light]] = {
    'day': _day,
    'overcast': _overcast,
    'low sun': _low_sun,
    'dusk': _dusk,
    'night': _night,
    'fog': _fog,
    'snow': _snow,
}
