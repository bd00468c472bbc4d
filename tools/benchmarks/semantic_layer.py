# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What Nav2's semantic segmentation layer makes of mask, confidence and point cloud.

Written anew from the source of kiwicampus/semantic_segmentation_layer (commit a70cf6e):
`syncSegmConfPointcloudCb`, `SegmentationBuffer::bufferSegmentation`, `SegmentationTileMap`,
`TemporalObservationQueue`, and the costs that `updateBounds` sets. Names are those of its
parameters; messages are rclpy's, or anything with their fields. Speed is no aim.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Tile = tuple[int, int]


class Costs(NamedTuple):
    """CostHeuristicParams."""

    base_cost: int = 0
    max_cost: int = 0
    mark_confidence: int = 0
    samples_to_max_cost: int = 0
    dominant_priority: bool = False


class Observation(NamedTuple):
    """TileObservation; time in seconds."""

    class_id: int
    confidence: float
    time: float


@dataclass
class Queues:
    """TemporalObservationQueue: one tile's observations by class, one class dominant."""

    decay_time: float
    by_class: dict[int, list[Observation]] = field(default_factory=dict)
    dominant: int = -1
    size: int = 0

    def push(self, seen: Observation, priority: bool) -> None:
        """Add an observation; the dominant class drives the others out."""
        queue = self.by_class.setdefault(seen.class_id, [])
        queue.append(seen)
        if priority or len(queue) > self.size:
            if self.dominant not in (-1, seen.class_id):
                self.by_class = {seen.class_id: queue}
            self.dominant, self.size = seen.class_id, len(queue)

    def purge(self, now: float) -> None:
        """Forget what is older than the decay time."""
        kept = {
            class_id: [seen for seen in queue if now - seen.time <= self.decay_time]
            for class_id, queue in self.by_class.items()
        }
        self.by_class = {class_id: queue for class_id, queue in kept.items() if queue}
        if self.dominant not in self.by_class:
            self.dominant = max(self.by_class, key=lambda c: len(self.by_class[c]), default=-1)
        self.size = len(self.by_class.get(self.dominant, ()))

    @property
    def confidence(self) -> float:
        """Mean of the dominant class's."""
        return sum(seen.confidence for seen in self.by_class[self.dominant]) / self.size


class SemanticLayer:
    """One observation source of the layer, in a costmap of a global frame.

    source: its parameters, as in config/nav2_semantic.yaml. resolution: of the costmap, m.
    tiles: by index (x, y) in the global frame.
    """

    def __init__(self, source: Mapping[str, Any], resolution: float) -> None:
        self.resolution = float(np.float32(resolution))
        self._by_cost = bool(source.get('use_cost_selection', True))
        self._nearest = float(source.get('min_obstacle_distance', 0.3)) ** 2
        self._farthest = float(source.get('max_obstacle_distance', 5.0)) ** 2
        self._decay = float(np.float32(source.get('tile_map_decay_time', 5.0)))
        self._by_name = {
            name: Costs(**{key: value for key, value in source[kind].items() if key != 'classes'})
            for kind in source['class_types']
            for name in source[kind]['classes']
        }
        self._by_id: dict[int, Costs] | None = None
        self.unknown: list[str] = []
        """Classes of the label info that the parameters do not have: the layer logs an error."""
        self.tiles: dict[Tile, Queues] = defaultdict(lambda: Queues(self._decay))

    def on_label_info(self, message: Any) -> None:
        """Take the classes' names."""
        ids = {entry.class_name: entry.class_id for entry in message.class_map}
        self.unknown = [name for name in ids if name not in self._by_name]
        self._by_id = {ids[name]: self._by_name[name] for name in ids if name in self._by_name}

    def on_frame(
        self, mask: Any, confidence: Any, cloud: Any, rotation: np.ndarray, offset: np.ndarray
    ) -> dict[Tile, int]:
        """Take three messages of one stamp; the class of each tile that they show.

        confidence: None where there is no such topic. rotation (3, 3), offset (3,): where the
        cloud's frame stands in the global frame.
        """
        stamps = [m.header.stamp for m in (mask, confidence, cloud) if m is not None]
        if any(stamp != stamps[0] for stamp in stamps):
            raise ValueError(f'the messages never meet: their stamps are {stamps}')
        pixels = mask.width * mask.height
        if pixels != cloud.width * cloud.height or len(mask.data) < pixels:
            raise ValueError(f'sizes differ: {pixels} and {cloud.width}x{cloud.height}')
        if not self._by_id:
            raise ValueError('no label info has come')
        labels = np.asarray(mask.data, np.uint8)[:pixels]
        sure = np.full(pixels, 255, np.uint8)
        if confidence is not None:
            sure = np.asarray(confidence.data, np.uint8)
        points = _floats(cloud) @ rotation.astype(np.float32).T + offset.astype(np.float32)
        seen = self._best(labels, sure, points, offset)
        stamp = cloud.header.stamp
        now = stamp.sec + stamp.nanosec * 1e-9
        for tile in [*self.tiles]:
            self.tiles[tile].purge(now)
            if self.tiles[tile].dominant == -1:
                del self.tiles[tile]
        found = {}
        for tile, pixel in seen.items():
            class_id = int(labels[pixel])
            if class_id in self._by_id:
                entry = Observation(class_id, float(sure[pixel]), now)
                self.tiles[tile].push(entry, self._by_id[class_id].dominant_priority)
                found[tile] = class_id
        return found

    def costs(self) -> dict[Tile, int]:
        """What the layer writes into its costmap."""
        assert self._by_id is not None
        result = {}
        for tile, queues in self.tiles.items():
            costs = self._by_id[queues.dominant]
            enough = queues.size >= costs.samples_to_max_cost
            sure = queues.confidence > costs.mark_confidence
            result[tile] = costs.max_cost if enough and sure else costs.base_cost
        return result

    def _best(
        self, labels: np.ndarray, sure: np.ndarray, points: np.ndarray, origin: np.ndarray
    ) -> dict[Tile, int]:
        """The pixel that speaks for each tile: the first of the costliest, or of the surest."""
        assert self._by_id is not None
        away = ((points.astype(np.float64) - origin) ** 2).sum(axis=1)
        with np.errstate(invalid='ignore'):
            within = (away < self._farthest) & (away > self._nearest)
        best: dict[Tile, int] = {}
        for pixel in np.flatnonzero(np.isfinite(points[:, 2]) & within).tolist():
            x, y = float(points[pixel, 0]), float(points[pixel, 1])
            tile = (math.floor(x / self.resolution), math.floor(y / self.resolution))
            rival = best.get(tile)
            if rival is None or self._beats(labels, sure, pixel, rival):
                best[tile] = pixel
        return best

    def _beats(self, labels: np.ndarray, sure: np.ndarray, pixel: int, rival: int) -> bool:
        if not self._by_cost:
            return bool(sure[pixel] > sure[rival])
        assert self._by_id is not None
        mine, theirs = (self._by_id.get(int(labels[at]), Costs()) for at in (pixel, rival))
        return mine.max_cost > theirs.max_cost


def _floats(cloud: Any) -> np.ndarray:
    """x, y, z (n, 3) float32 of a PointCloud2, as sensor_msgs::PointCloud2ConstIterator reads."""
    fields: Sequence[Any] = cloud.fields
    order = '>' if cloud.is_bigendian else '<'
    offsets = {entry.name: entry.offset for entry in fields if entry.datatype == 7}  # FLOAT32
    kind = np.dtype(
        {
            'names': ['x', 'y', 'z'],
            'formats': [f'{order}f4'] * 3,
            'offsets': [offsets[name] for name in 'xyz'],
            'itemsize': cloud.point_step,
        }
    )
    table = np.frombuffer(bytes(cloud.data), kind)
    return np.stack([table[name] for name in 'xyz'], axis=1).astype(np.float32)
