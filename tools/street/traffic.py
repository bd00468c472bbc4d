# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What moves: traffic in both directions, cyclists, pedestrians; positions in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Iterator, List, NamedTuple, Tuple

import numpy as np

from tools.street import cars, coaches, people
from tools.street.actors import person, two_wheeler, vehicle
from tools.street.bodywork import Shell
from tools.street.layout import BLOCK, Plan, crossing, stream
from tools.street.props import Prop

_LENGTHS = {'car': 4.5, 'bus': 12.0, 'truck': 10.0, 'motorcycle': 2.2, 'train': 28.0}
_MIX = (('car', 0.55), ('bus', 0.09), ('truck', 0.11), ('motorcycle', 0.17), ('train', 0.08))


@dataclass(frozen=True)
class Ego:
    """The driving camera: x grows with a gently varying speed along its lane."""

    plan: Plan
    speed: float = 9.0  # metres per second
    sway: float = 0.15  # metres: how far it wanders in its lane
    lane: int = 0  # counted from the centre line

    def x(self, t: float) -> float:
        """Place along the street at time t (seconds)."""
        return self.speed * (t + 0.6 * float(np.sin(0.5 * t)))

    def place(self, t: float) -> Tuple[float, float, float]:
        """World x, y and heading."""
        x = self.x(t)
        d = self.plan.lane_side(True) * (self.lane + 0.5) * self.plan.lane_width
        d += self.sway * float(np.sin(0.4 * t + 1))
        drift = self.sway * 0.4 * float(np.cos(0.4 * t + 1)) / self.speed
        px, py = self.plan.at(x, d)
        return px, py, self.plan.heading(x) + drift


@dataclass(frozen=True)
class Traffic:
    """Everything that moves on one street; densities are 0..1."""

    plan: Plan
    ego: Ego
    vehicles: float = 0.6
    cyclists: float = 0.4
    people: float = 0.6
    lamps: float = 0.0  # brightness of the vehicles' lamps

    def around(self, t: float, behind: float, ahead: float) -> List[Prop]:
        """Moving things between ``behind`` and ``ahead`` metres of the camera at time t."""
        x, y, _ = self.ego.place(t)
        window, camera = (x - behind, x + ahead), np.array([x, y])
        props = self._leading(t, window, camera)
        props += self._oncoming(t, window, camera)
        props += self._cyclists(t, window, camera)
        props += self._pedestrians(t, window, camera)
        props += self._crossing(t, window, camera)
        return [replace(prop, still=False) for prop in props]

    def _leading(self, t: float, window: Tuple[float, float], camera: np.ndarray) -> List[Prop]:
        """Traffic ahead in the camera's direction: it keeps its distance, more or less."""
        props: List[Prop] = []
        side, ego_x = self.plan.lane_side(True), self.ego.x(t)
        for lane in range(self.plan.lanes):
            gap = 8 + 24 * _one(self.plan.seed, 30, lane).first
            if lane != self.ego.lane:
                gap -= 40
            for number in range(7):
                one = _one(self.plan.seed, 30, lane, number)
                kind = _pick(one.kind)
                x = ego_x + gap + _LENGTHS[kind] / 2
                x += 1.5 * float(np.sin(0.3 * t + 6 * one.second))
                gap += _LENGTHS[kind] + 6 + 28 * one.first
                if one.present < self.vehicles and window[0] < x < window[1]:
                    d = side * (lane + 0.5) * self.plan.lane_width
                    props.append(
                        self._moving(
                            kind, one.style, x, d, True, camera, 33000 + lane * 100 + number * 4
                        )
                    )
        return props

    def _oncoming(self, t: float, window: Tuple[float, float], camera: np.ndarray) -> List[Prop]:
        props: List[Prop] = []
        side = self.plan.lane_side(False)
        for lane in range(self.plan.lanes):
            speed, spacing = 5 + 7 * _one(self.plan.seed, 31, lane).first, 34.0
            for index in _indices(window[0] + speed * t, window[1] + speed * t, spacing):
                one = _one(self.plan.seed, 32, lane, index)
                if one.present < self.vehicles:
                    x = index * spacing + 4 * one.first - speed * t
                    d = side * (lane + 0.5) * self.plan.lane_width
                    props.append(
                        self._moving(
                            _pick(one.kind),
                            one.style,
                            x,
                            d,
                            False,
                            camera,
                            34000 + lane * 4000 + index % 1000 * 4,
                        )
                    )
        return props

    def _moving(
        self,
        kind: str,
        style: int,
        x: float,
        d: float,
        along: bool,
        camera: np.ndarray,
        instance: int,
    ) -> Prop:
        px, py = self.plan.at(x, d)
        heading = self.plan.heading(x) + (0.0 if along else np.pi)
        if kind == 'motorcycle':
            return two_wheeler(px, py, heading, style % 32, True, instance, camera, 0)
        return vehicle(_shell(kind, style), px, py, heading, instance, self.lamps)

    def _cyclists(self, t: float, window: Tuple[float, float], camera: np.ndarray) -> List[Prop]:
        props: List[Prop] = []
        for along in (True, False):
            side, speed = self.plan.lane_side(along), 4.5 if along else -4.5
            d = side * (self.plan.lanes * self.plan.lane_width - 0.35)
            for index in _indices(window[0] - speed * t, window[1] - speed * t, 22.0):
                one = _one(self.plan.seed, 33, int(along), index)
                if one.present < self.cyclists:
                    x = index * 22.0 + 15 * one.first + speed * t
                    px, py = self.plan.at(x, d + 0.2 * one.second - 0.1)
                    heading = self.plan.heading(x) + (0.0 if along else np.pi)
                    phase = int(t * 9 + index) % people.PHASES
                    props.append(
                        two_wheeler(
                            px,
                            py,
                            heading,
                            one.style % 32,
                            False,
                            43000 + along * 4000 + index % 1000 * 4,
                            camera,
                            phase,
                        )
                    )
        return props

    def _pedestrians(
        self,
        t: float,
        window: Tuple[float, float],
        camera: np.ndarray,
    ) -> List[Prop]:
        return [
            prop
            for side in (1, -1)
            for along in (True, False)
            for prop in self._walkers(side, along, t, window, camera)
        ]

    def _walkers(
        self, side: int, along: bool, t: float, window: Tuple[float, float], camera: np.ndarray
    ) -> List[Prop]:
        """People on the sidewalk of one side who walk one way."""
        props: List[Prop] = []
        speed, pair = 1.3 if along else -1.3, self.plan.index(side)
        inner = self.plan.carriageway(side) + self.plan.verge[pair] + 0.4
        room = max(self.plan.sidewalk[pair] - 0.7, 0.1)
        for index in _indices(window[0] - speed * t, window[1] - speed * t, 7.0):
            one = _one(self.plan.seed, 34, side, int(along), index)
            if one.present < self.people * 0.6:
                x = index * 7.0 + 6 * one.first + speed * t
                heading = self.plan.heading(x) + (0.0 if along else np.pi)
                number = 51000 + (side > 0) * 2000 + along * 1000 + index % 1000
                props.append(
                    person(
                        *self.plan.at(x, side * (inner + room * one.second)),
                        heading,
                        one.style,
                        t + index,
                        camera,
                        number,
                    )
                )
        return props

    def _crossing(self, t: float, window: Tuple[float, float], camera: np.ndarray) -> List[Prop]:
        """People who cross on the zebra and are gone when the camera gets there."""
        props: List[Prop] = []
        for block in range(int(window[0] // BLOCK), int(window[1] // BLOCK) + 1):
            x = crossing(self.plan, block)
            if not np.isfinite(x):
                continue
            rng = stream(self.plan.seed, 35, block)
            for number in range(int(rng.poisson(3 * self.people))):
                side = 1 if rng.random() < 0.5 else -1
                start = x / self.ego.speed - float(rng.uniform(8, 16))
                d = self.plan.carriageway(side) + 0.5 - 1.4 * (t - start)
                px, place = x + float(rng.uniform(-1.2, 1.2)), side * d
                style = int(rng.integers(64))
                limit = self.plan.carriageway(-side) + 1.0
                if -limit < d < self.plan.carriageway(side) + 1.0:
                    props.append(
                        person(
                            *self.plan.at(px, place),
                            -side * np.pi / 2,
                            style,
                            t,
                            camera,
                            56000 + block % 256 * 16 + number % 16,
                        )
                    )
        return props


class _One(NamedTuple):
    """Random numbers 0..1 of one member of a stream of traffic, and its style."""

    present: float
    first: float
    second: float
    kind: float
    style: int


@lru_cache(maxsize=8192)
def _one(seed: int, *keys: int) -> _One:
    rng = stream(seed, *keys)
    present, first, second, kind = rng.random(4).tolist()
    return _One(present, first, second, kind, int(rng.integers(96)))


def _indices(begin: float, end: float, spacing: float) -> Iterator[int]:
    return iter(range(int(np.floor(begin / spacing)), int(np.ceil(end / spacing)) + 1))


def _pick(share: float) -> str:
    """Kind of vehicle by a number 0..1."""
    for name, weight in _MIX:
        share -= weight
        if share < 0:
            return name
    return _MIX[0][0]


def _shell(kind: str, style: int) -> Shell:
    if kind == 'bus':
        return coaches.bus(style % 24)
    if kind == 'truck':
        return coaches.truck(style % 24)
    if kind == 'train':
        return coaches.tram(style % 12)
    return cars.car(style)
