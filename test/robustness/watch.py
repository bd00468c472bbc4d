# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The watcher: takes all that the node publishes, and judges it against what was sent."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from threading import Condition
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import SingleThreadedExecutor
from robustness.faults import Outcome
from robustness.scenes import CLOSED, Scene
from sensor_msgs.msg import CompressedImage, Image, LaserScan
from spinner import Spinner

from segformer_ros import topics
from segformer_ros.msg import DrivableArea
from segformer_ros.node.segmentation.frame_task import FrameCounts

TOPICS: dict[str, Any] = {
    topics.MASK: Image,
    topics.CONFIDENCE: Image,
    topics.COMPRESSED_OVERLAY: CompressedImage,
    topics.AREA: DrivableArea,
    topics.GRID: OccupancyGrid,
    topics.SCAN: LaserScan,
}
ANY = (topics.MASK, topics.AREA)
"""What answers any image that is taken."""

WHOLE = (*ANY, topics.GRID, topics.SCAN)
"""What answers a whole image of a camera whose calibration and place are known."""

LONGEST_TEXT = 4000
"""Characters of any text that the node shows."""

_SURE = math.radians(50.0)  # beams up to this angle look through the image
_SLACK = 0.1  # metres, on top of four standard deviations
_GRID_SLACK = 0.5  # metres: the side of a cell and the half pixel of the boundary


class Violation(NamedTuple):
    """A rule that was broken, and by what."""

    rule: str
    detail: str


W = TypeVar('W', bound='StatusWatcher')


class StatusWatcher:
    """Subscribes to /diagnostics, in a thread of its own; a context manager."""

    def __init__(self, name: str) -> None:
        self._changed = Condition()
        self._node = rclpy.create_node(name)
        self._executor = SingleThreadedExecutor()
        self._spinner = Spinner(self._executor)
        self._status: DiagnosticStatus | None = None
        self._node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_status, 10)

    def __enter__(self: W) -> W:
        self._executor.add_node(self._node)
        self._spinner.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._spinner.stop()
        self._node.destroy_node()

    def status(self, patience: float = 30.0) -> dict[str, str]:
        """Values of the camera's next status, and its message; empty where none comes."""
        with self._changed:
            self._status = None
            self._changed.wait_for(lambda: self._status is not None, patience)
            status: DiagnosticStatus | None = self._status
        if status is None:
            return {}
        return {'message': status.message, **{pair.key: pair.value for pair in status.values}}

    def counts(self, patience: float = 30.0) -> FrameCounts | None:
        """The node's counts once nothing is pending and nothing changes; None without them."""
        end, last = monotonic() + patience, None
        while monotonic() < end:
            values = self.status()
            if not values:
                return None
            counts = FrameCounts(*(int(values[name]) for name in FrameCounts._fields))
            if counts == last and counts.pending == 0:
                break
            last = counts
        return last

    def _on_status(self, array: DiagnosticArray) -> None:
        with self._changed:
            for status in array.status:
                if status.name.endswith(': camera'):
                    self._status = status
            self._changed.notify_all()


class Watcher(StatusWatcher):
    """Subscribes to all outputs and keeps what came by the stamps of the images."""

    def __init__(self) -> None:
        super().__init__('hostile_watcher')
        self._came: dict[int, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        self._broken: list[Violation] = []
        self.masks = 0
        """Masks that came, since the watcher was made."""
        self.masks_published = 0
        """Masks that the running node has published, by the number of the newest that came."""
        self.statuses: list[str] = []
        """What /diagnostics said of the camera since the last `forget`."""
        for topic, kind in TOPICS.items():
            self._node.create_subscription(kind, topic, self._taker(topic), 50)

    def wait_for(self, stamp: int, patience: float, awaited: Sequence[str] = WHOLE) -> bool:
        """Wait until an image is answered on all these topics; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(self._came[stamp][topic] for topic in awaited), patience
            )

    def wait_for_mask(self, number: int, patience: float) -> None:
        """Wait until the mask of that number has come; the one of a resent image may be late."""
        with self._changed:
            self._changed.wait_for(lambda: self.masks_published >= number, patience)

    def came(self, stamp: int, topic: str) -> list[Any]:
        """Messages of a stamp on a topic."""
        with self._changed:
            return list(self._came[stamp][topic])

    def judge_any(self) -> list[Violation]:
        """Rules that were broken since the last call and hold for any image."""
        with self._changed:
            broken, self._broken = self._broken, []
            return broken

    def forget(self) -> None:
        """Forget the messages that came."""
        with self._changed:
            self._came.clear()
            self.statuses = []

    def _taker(self, topic: str) -> Any:
        def take(message: Any, info: dict[str, Any]) -> None:
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            with self._changed:
                self._came[stamp][topic].append(message)
                if topic == topics.MASK:
                    self.masks += 1
                    self.masks_published = info['publication_sequence_number']
                self._broken += _of_any_image(message)
                self._changed.notify_all()

        return take

    def _on_status(self, array: DiagnosticArray) -> None:
        super()._on_status(array)
        for status in array.status:
            if status.name.endswith(': camera'):
                self.statuses.append(status.message)
            for text in (status.message, *(pair.value for pair in status.values)):
                self._broken += judge_text('/diagnostics', text)


def judge_text(where: str, text: str) -> Iterator[Violation]:
    """Texts that the node shows are short and drive no terminal."""
    if len(text) > LONGEST_TEXT:
        yield Violation(f'text too long: {where}', f'{len(text)} characters')
    if any((ord(letter) < 32 and letter not in '\n\t') or ord(letter) == 127 for letter in text):
        yield Violation(f'control characters: {where}', repr(text[:100]))


def _of_any_image(message: Any) -> Iterator[Violation]:
    """What no output may be, whatever it was made of."""
    if isinstance(message, LaserScan) and np.isnan(message.ranges).all():
        yield Violation('scan of NaN alone', f'{len(message.ranges)} ranges')
    if not isinstance(message, DrivableArea):
        return
    yield from judge_text('drivable_area.reason', message.reason)
    if not (message.valid and message.calibrated):
        if not message.reason:
            yield Violation('no reason', f'valid {message.valid}, calibrated {message.calibrated}')
    elif math.isnan(message.corridor_distance) or np.isnan(message.free_distance).all():
        yield Violation('calibrated without metres', f'corridor {message.corridor_distance}')


def judge_outcome(watcher: Watcher, outcome: Outcome, stamp: int) -> Iterator[Violation]:
    """Whether an image of a fault had its outcome; that no mask came may be the inbox's doing."""
    masks, areas = watcher.came(stamp, topics.MASK), watcher.came(stamp, topics.AREA)
    if outcome is Outcome.REFUSED:
        if masks:
            yield Violation('taken', f'a mask of {masks[0].width}x{masks[0].height}')
        if any(area.valid for area in areas):
            yield Violation('valid area of a refused image', f'of {stamp * 1e-9:.3f} s')
    elif outcome is Outcome.NO_METRES and any(area.valid and area.calibrated for area in areas):
        yield Violation('calibrated', f'corridor {areas[0].corridor_distance}')
    elif outcome is Outcome.NOT_VALID and any(area.valid for area in areas):
        yield Violation('valid', f'stamp {stamp * 1e-9:.3f} s')
    if outcome not in (Outcome.REFUSED, Outcome.NOT_VALID):
        yield from judge_scene(watcher, Scene(CLOSED), stamp)


def judge_scene(watcher: Watcher, scene: Scene, stamp: int) -> Iterator[Violation]:
    """Nothing is free that the scene does not show to be free."""
    for area in watcher.came(stamp, topics.AREA):
        if area.valid and area.calibrated:
            yield from _judge_area(area, scene)
    for grid in watcher.came(stamp, topics.GRID):
        yield from _judge_grid(grid, scene)
    for scan in watcher.came(stamp, topics.SCAN):
        yield from _judge_scan(scan, scene)


def judge_whole(watcher: Watcher, scene: Scene, stamp: int) -> Iterator[Violation]:
    """A whole image is answered with what it shows."""
    mask = watcher.came(stamp, topics.MASK)[0]
    labels = np.frombuffer(mask.data, np.uint8)
    if labels.size != scene.labels.size or (labels != scene.labels.ravel()).mean() > 0.01:
        yield Violation('another mask', f'of a wall from row {scene.foot}')
    area = watcher.came(stamp, topics.AREA)[0]
    if not (area.valid and area.calibrated):
        yield Violation('whole image without metres', area.reason[:200])
    elif area.corridor_distance < scene.distance - _margin(area):
        yield Violation('blocked', f'{area.corridor_distance:.2f} m for {scene.distance:.2f}')
    yield from judge_scene(watcher, scene, stamp)


def _margin(area: DrivableArea) -> float:
    return 4 * float(area.corridor_sigma) + _SLACK


def _judge_area(area: DrivableArea, scene: Scene) -> Iterator[Violation]:
    limit = scene.distance + _margin(area) if scene.distance else 0.0
    if area.corridor_distance > limit:
        yield Violation(
            'free corridor', f'{area.corridor_distance:.2f} m for {scene.distance:.2f}'
        )
    if not scene.distance and np.any(np.asarray(area.free_distance) > 0):
        yield Violation('free columns', f'{np.nanmax(area.free_distance):.2f} m for 0')


def _judge_grid(grid: OccupancyGrid, scene: Scene) -> Iterator[Violation]:
    info = grid.info
    cells = np.asarray(grid.data, np.int8).reshape(info.height, info.width)
    x = info.origin.position.x + (np.flatnonzero((cells == 0).any(axis=0)) + 0.5) * info.resolution
    beyond = x[x > scene.distance + _GRID_SLACK] if scene.distance else x
    if len(beyond):
        yield Violation('free cells', f'to {beyond.max():.2f} m for {scene.distance:.2f}')


def _judge_scan(scan: LaserScan, scene: Scene) -> Iterator[Violation]:
    ranges = np.asarray(scan.ranges)
    clear = np.isposinf(ranges)
    if clear.any():
        yield Violation('clear beams', f'{clear.sum()} of {len(ranges)} through a wall')
    angles = scan.angle_min + np.arange(len(ranges)) * scan.angle_increment
    sure = (np.abs(angles) < _SURE) & np.isfinite(ranges)
    far = ranges[sure] * np.cos(angles[sure])
    if scene.distance and np.any(far > 1.3 * scene.distance + _SLACK):
        yield Violation('long beams', f'{far.max():.2f} m for {scene.distance:.2f}')
