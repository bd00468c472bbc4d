# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A drive: the frames of a camera that moves through a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Optional

import numpy as np

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.drivable import PlanarPose
from tools.street import labels
from tools.street.groundview import to_world
from tools.street.layout import stream
from tools.street.lens import Lens
from tools.street.presets import sample_scene
from tools.street.renderer import Renderer
from tools.street.scene import Scene, inside
from tools.street.truth import free_space


@dataclass(frozen=True)
class StreetFrame:
    """One frame of a drive with everything that is known about it.

    image: (H, W, 3) uint8 BGR.
    labels: (H, W) uint8 Cityscapes train ids, exact at pixel centres; 255 where the lens has no
        ray.
    instances: (H, W) uint16, 0 for what cannot be counted; an id is the same thing through the
        whole drive.
    depth: (H, W) float32, metres along the optical axis (z), inf for the sky.
    free_distance: (W,) float32, metres on the ground from the camera's foot point to where the
        column's rays leave the road (see street.truth); 0 where the bottom pixel is not road,
        inf where the road runs to the horizon.
    free_blocker: (W,) uint8, label of the first pixel from the bottom that is not road; 255 if
        none.
    time: seconds since the drive's start; stamp_ns: the same in integer nanoseconds.
    """

    image: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    depth: np.ndarray
    free_distance: np.ndarray
    free_blocker: np.ndarray
    time: float

    @property
    def stamp_ns(self) -> int:
        """Nanoseconds since the drive's start."""
        return round(self.time * 1e9)


class Drive:
    """A deterministic drive: ``drive[i]`` is the same frame whatever was asked for before.

    seed: decides the street, its traffic, light and weather (unless ``scene`` is given).
    calibration, pose: the camera; the street is seen exactly through them.
    fps, frames: how often and how many.
    """

    def __init__(
        self,
        seed: int,
        calibration: Calibration,
        pose: CameraPose,
        fps: float = 10.0,
        frames: int = 100,
        scene: Optional[Scene] = None,
        lens: Optional[Lens] = None,
        start: float = 0.0,
    ) -> None:
        if not fps > 0:
            raise ValueError(f'fps={fps} is not a positive rate: give frames per second')
        if frames < 1:
            raise ValueError(f'frames={frames}: a drive has at least one frame')
        self.seed = seed
        self.calibration = calibration
        self.pose = pose
        self.fps = fps
        self.lens = lens or Lens()
        self.start = start
        self.scene = sample_scene(seed) if scene is None else scene
        self._frames = frames
        self._renderer = Renderer(self.scene, calibration, pose)

    def __len__(self) -> int:
        return self._frames

    def __iter__(self) -> Iterator[StreetFrame]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> StreetFrame:
        if not -len(self) <= index < len(self):
            raise IndexError(f'frame {index} of a drive of {len(self)} frames')
        index %= len(self)
        t = self.start + index / self.fps
        picture = self._renderer.render(t)
        free = free_space(self._renderer, picture, t)
        image = self.lens.record(picture.image, stream(self.seed, 90, index))
        return StreetFrame(
            image,
            picture.labels,
            picture.instances,
            picture.depth,
            free.distance,
            free.blocker,
            index / self.fps,
        )

    def place(self, index: int) -> PlanarPose:
        """Where the vehicle stands in the world at a frame."""
        return PlanarPose(*map(float, self.scene.ego.place(self.start + index / self.fps)))

    def free_at(self, points: np.ndarray, index: int) -> np.ndarray:
        """Whether ground points (N, 2) (vehicle frame: x forward, y left) are free road: (N,)."""
        return self.scene.free_at(points, self.start + index / self.fps)

    def classes_at(self, points: np.ndarray, index: int) -> np.ndarray:
        """What ground points (N, 2) of the vehicle frame carry at a frame: (N, 19) bool.

        The class of the ground itself, and all those of what stands on it there.
        """
        t = self.start + index / self.fps
        place = self.scene.ego.place(t)
        world = to_world(points, place)
        found = np.zeros((len(points), labels.CLASS_COUNT), bool)
        ground = self.scene.painter.ground(place[0]).label_at(world)
        found[np.arange(len(points)), ground] = True
        for prop in self.scene.at(t).props:
            classes = sorted({face.label for face in prop.faces} | {s.label for s in prop.sprites})
            classes = [c for c in classes if c < labels.CLASS_COUNT]
            for outline in prop.footprints:
                low, high = outline.min(axis=0), outline.max(axis=0)
                near = np.flatnonzero(((world >= low) & (world <= high)).all(axis=1))
                hit = near[inside(outline, world[near])]
                found[np.ix_(hit, classes)] = True
        return found
