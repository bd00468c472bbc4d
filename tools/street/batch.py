# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Faces and sprites of many things as arrays, ready to be transformed and drawn together."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from tools.street.light import Light
from tools.street.props import Face, Prop, Sprite
from tools.street.texture import Texture

_ROUND = 0.5  # mean cosine of a round thing's surface to the sun, of any to lamps above


class Looks(NamedTuple):
    """How N surfaces look and what they are."""

    textures: Tuple[Texture, ...]
    tones: Tuple[np.ndarray, ...]
    labels: np.ndarray  # (N,) uint8
    instances: np.ndarray  # (N,) uint16
    owners: np.ndarray  # (N,) int: which thing of the batch
    backdrop: np.ndarray  # (N,) bool
    detail: np.ndarray  # (N,) int8: drawn always (0), only near by (1), only far off (-1)


class Batch(NamedTuple):
    """Things in the world frame: F faces and S sprites."""

    corners: np.ndarray  # (F, 4, 3)
    frames: np.ndarray  # (F, 3, 3): where the textures' corners lie
    links: np.ndarray  # (F, 4) int: neighbour of each edge, or -1
    faces: Looks
    places: np.ndarray  # (S, 3): x, y, bottom
    sizes: np.ndarray  # (S, 3): width, height, metres shifted toward the camera
    sprites: Looks
    things: int


def pack(props: Sequence[Prop], sun: np.ndarray, sky: np.ndarray, light: Light) -> Batch:
    """Arrays of N things; ``sun`` and ``sky`` (N,) are the shares of light that reach them."""
    faces: List[Face] = []
    sprites: List[Sprite] = []
    links: List[np.ndarray] = []
    face_owner: List[int] = []
    sprite_owner: List[int] = []
    for number, prop in enumerate(props):
        linked = np.full((len(prop.faces), 4), -1)
        if len(prop.hard):
            linked = np.where(prop.hard >= 0, prop.hard + len(faces), -1)
        links.append(linked)
        faces.extend(prop.faces)
        sprites.extend(prop.sprites)
        face_owner += [number] * len(prop.faces)
        sprite_owner += [number] * len(prop.sprites)
    corners = np.array([face.corners for face in faces]).reshape(-1, 4, 3)
    cosine = _toward_sun(corners, light)
    face_tones = tuple(
        _tone(face, float(cosine[i] * sun[owner]), float(sky[owner]), light)
        for i, (face, owner) in enumerate(zip(faces, face_owner, strict=False))
    )
    sprite_tones = tuple(
        _tone(sprite, float(_ROUND * sun[owner]), float(sky[owner]), light)
        for sprite, owner in zip(sprites, sprite_owner, strict=False)
    )
    backdrop = np.array([prop.backdrop for prop in props], bool)
    frames = np.array(
        [face.corners[[0, 1, 3]] if face.frame is None else face.frame for face in faces]
    ).reshape(-1, 3, 3)
    return Batch(
        corners,
        frames,
        np.concatenate(links) if links else np.zeros((0, 4), int),
        Looks(
            tuple(face.texture for face in faces),
            face_tones,
            np.array([face.label for face in faces], np.uint8),
            np.array([face.instance for face in faces], np.uint16),
            np.array(face_owner, int),
            backdrop[face_owner],
            np.array([face.detail for face in faces], np.int8),
        ),
        np.array([sprite[:3] for sprite in sprites], float).reshape(-1, 3),
        np.array([(s.width, s.height, s.toward) for s in sprites], float).reshape(-1, 3),
        Looks(
            tuple(s.texture.mirrored() if s.flip else s.texture for s in sprites),
            sprite_tones,
            np.array([s.label for s in sprites], np.uint8),
            np.array([s.instance for s in sprites], np.uint16),
            np.array(sprite_owner, int),
            backdrop[sprite_owner],
            np.zeros(len(sprites), np.int8),
        ),
        len(props),
    )


def turned(batch: Batch, camera: np.ndarray) -> np.ndarray:
    """Corners (S, 4, 3) of a batch's sprites when they face the camera (x, y, ...)."""
    sight = batch.places[:, :2] - camera[:2]
    sight = sight / np.maximum(np.hypot(sight[:, 0], sight[:, 1]), 1e-6)[:, None]
    right = np.stack([sight[:, 1], -sight[:, 0]], axis=1) * batch.sizes[:, :1] / 2
    middle = batch.places[:, :2] - sight * batch.sizes[:, 2:]
    corners = np.empty((len(middle), 4, 3))
    corners[:, 0, :2] = corners[:, 3, :2] = middle - right
    corners[:, 1, :2] = corners[:, 2, :2] = middle + right
    corners[:, 2:, 2] = batch.places[:, 2:]
    corners[:, :2, 2] = batch.places[:, 2:] + batch.sizes[:, 1:2]
    return corners


def _toward_sun(corners: np.ndarray, light: Light) -> np.ndarray:
    """Cosine (F,) between the faces' outward normals and the sun."""
    if light.lamps:
        return np.full(len(corners), _ROUND)
    # Seen from the front the corners run clockwise, so this normal points inward.
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
    length = np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
    cosine: np.ndarray = -(normal @ light.direction) / length
    return cosine


def _tone(surface: Face | Sprite, toward_sun: float, sky: float, light: Light) -> np.ndarray:
    sky *= surface.sky
    sunlit = round(max(toward_sun, 0.0) * 8) / 8
    return light.tone(
        sunlit * sky, surface.tint, sky=(0.75 + 0.25 * sunlit) * sky, glow=surface.glow
    )
