# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Vehicles, two-wheelers and people placed in the world at a pose."""

from __future__ import annotations

from functools import lru_cache
from typing import List, Optional

import numpy as np

from tools.street import labels, people
from tools.street.bodywork import Shell
from tools.street.props import Face, Prop, Sprite, placed, rectangle, turn
from tools.street.texture import Texture


def vehicle(
    shell: Shell, x: float, y: float, heading: float, instance: int, lamps: float = 0.0
) -> Prop:
    """A vehicle's shell placed in the world, with its lamps on where ``lamps`` is above 0."""
    outline = shell.footprint @ turn(heading)[:2, :2].T + (x, y)
    sprites: List[Sprite] = []
    if lamps:
        label = shell.faces[0].label
        half_length, half_width = shell.footprint.max(axis=0)
        for ahead, glare in ((1, _glare(True)), (-1, _glare(False))):
            for left in (0.7, -0.7):
                spot = np.array([ahead * (half_length + 0.1), left * half_width])
                px, py = turn(heading)[:2, :2] @ spot + (x, y)
                size = 0.7 if ahead > 0 else 0.4
                sprites.append(
                    Sprite(
                        px,
                        py,
                        0.7 - size / 2,
                        size,
                        size,
                        glare,
                        label,
                        instance=instance,
                        glow=2.5 * lamps,
                    )
                )
    return Prop(
        x,
        y,
        faces=placed(shell.faces, x, y, heading, instance=instance),
        sprites=tuple(sprites),
        hard=shell.links,
        footprints=(outline,),
        shadow=shell.height,
    )


@lru_cache(maxsize=2)
def _glare(front: bool) -> Texture:
    """A lamp's light in the lens, (32, 32); it has no outline of its own."""
    v, u = np.mgrid[-1:1:32j, -1:1:32j]
    away = np.hypot(u, v)
    alpha = np.clip(
        0.9 * np.exp(-((away / 0.28) ** 2)) + 0.35 * np.exp(-((away / 0.5) ** 2)), 0, 1
    )
    alpha *= np.clip((1 - away) * 4, 0, 1)
    color = (215, 240, 255) if front else (40, 30, 255)
    picture = np.empty((32, 32, 4), np.uint8)
    picture[:] = (*color, 0)
    picture[..., 3] = alpha * 255
    return Texture(picture, np.zeros((32, 32), np.uint8))


def two_wheeler(
    x: float,
    y: float,
    heading: float,
    style: int,
    motor: bool,
    instance: int,
    seen_from: np.ndarray,
    phase: int = -1,
) -> Prop:
    """A bicycle or motorcycle; ridden where a phase is given (its rider is ``instance + 1``).

    From the side it is a plane along its heading; from ahead and behind a sprite.
    """
    draw, label = (
        (people.motorcycle, labels.MOTORCYCLE) if motor else (people.bicycle, labels.BICYCLE)
    )
    sight = np.array([x, y]) - seen_from
    along = float(np.cos(heading) * sight[0] + np.sin(heading) * sight[1])
    along /= max(float(np.hypot(*sight)), 1e-6)
    if abs(along) > 0.94:
        view = 'back' if along > 0 else 'front'
        width, height = people.CYCLE_END_SIZE
        sprites = [Sprite(x, y, 0, width, height, draw(style, view), label, instance=instance)]
        if phase >= 0:
            sprites.append(
                Sprite(
                    x,
                    y,
                    0,
                    width,
                    height,
                    people.rider(style, phase, view, motor),
                    labels.RIDER,
                    instance=instance + 1,
                    toward=0.03 if view == 'back' else -0.03,
                )
            )
        across = rectangle(x, y, float(np.arctan2(sight[1], sight[0])), 0.04, 0.12)
        return Prop(x, y, sprites=tuple(sprites), footprints=(across,), shadow=1.2)
    # As long as the outline is where it meets the ground.
    footprint = rectangle(x, y, heading, 1.7 if motor else 1.3, 0.06)
    return _two_wheeler_side(
        x,
        y,
        heading,
        draw(style, 'side'),
        label,
        instance,
        footprint,
        people.rider(style, phase, 'side', motor) if phase >= 0 else None,
    )


def _two_wheeler_side(
    x: float,
    y: float,
    heading: float,
    machine: Texture,
    label: int,
    instance: int,
    footprint: np.ndarray,
    person: Optional[Texture],
) -> Prop:
    width, height = people.CYCLE_SIZE
    forward = np.array([np.cos(heading), np.sin(heading)]) * width / 2
    left = np.array([-np.sin(heading), np.cos(heading)]) * 0.02
    faces: List[Face] = []
    for texture, kind, number, off in (
        (machine, label, instance, 0.0),
        (person, labels.RIDER, instance + 1, 1.0),
    ):
        if texture is None:
            continue
        for sign in (-1, 1):  # the right side, and the left side seen in a mirror
            center = np.array([x, y]) + left * off * sign
            tail, nose = center - forward, center + forward
            quad = np.array([[*tail, height], [*nose, height], [*nose, 0], [*tail, 0]])
            if sign > 0:
                faces.append(Face(quad[[1, 0, 3, 2]], texture.mirrored(), kind, instance=number))
            else:
                faces.append(Face(quad, texture, kind, instance=number))
    return Prop(x, y, faces=tuple(faces), footprints=(footprint,), shadow=1.2)


def person(
    x: float, y: float, heading: float, style: int, t: float, camera: np.ndarray, instance: int
) -> Prop:
    """A pedestrian walking along ``heading``, as seen from the camera (x, y)."""
    sight = np.arctan2(y - camera[1], x - camera[0])
    turned = float(np.angle(np.exp(1j * (heading - sight))))  # 0: walks away, +: to the left
    phase = int(t * 1.1 * people.PHASES) % people.PHASES
    view = 'back' if abs(turned) < 0.6 else 'front' if abs(turned) > 2.54 else 'side'
    width, height = people.WALKER_SIZE
    scale = 0.86 + 0.2 * (style % 8) / 8
    sprite = Sprite(
        x,
        y,
        0.0,
        width * scale,
        height * scale,
        people.walker(style, phase, view),
        labels.PERSON,
        instance=instance,
        flip=view == 'side' and turned > 0,
    )
    return Prop(
        x, y, sprites=(sprite,), footprints=(rectangle(x, y, float(sight), 0.04, 0.3),), shadow=1.7
    )
