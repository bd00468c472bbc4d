# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A frame's way through the package: functions and files from the subscription to the topics.

A segmentation node and its subscribers run in this process. One frame is followed by
`sys.setprofile`, in the executor's thread from the image's callback, and in the threads that
work on it until the last message of it is published. A comprehension or a lambda is part of the
function that it stands in. What is only evaluated for diagnostics, once a second, is not on the
way.

    ./run python -m tools.benchmarks.frame_way
    ./run python -m tools.benchmarks.frame_way --engine openvino --list
    ./run python -m tools.benchmarks.frame_way --time 200        (milliseconds, without a profile)
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np
import rclpy
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan

import segformer_ros
from segformer_ros import topics
from segformer_ros.camera import Calibration, camera_info_fields
from segformer_ros.msg import DrivableArea
from segformer_ros.node.messages import fill
from segformer_ros.node.segmentation.frame_worker import Inbox
from segformer_ros.node.segmentation.segmentation_node import SegmentationNode
from segformer_ros.text_table import format_table

PACKAGE = str(Path(segformer_ros.__file__).parent)

HEIGHT, WIDTH = 96, 192
"""Of the images: the package's own share of the time shows best on small ones."""

TOPICS: dict[str, Any] = {
    topics.MASK: Image,
    topics.CONFIDENCE: Image,
    topics.OVERLAY: Image,
    topics.COMPRESSED_OVERLAY: CompressedImage,
    topics.MASK_CAMERA_INFO: CameraInfo,
    topics.AREA: DrivableArea,
    topics.GRID: OccupancyGrid,
    topics.SCAN: LaserScan,
}
CASES: dict[str, tuple[str, ...]] = {'mask only': (topics.MASK,), 'all topics': tuple(TOPICS)}

WARM = 30
"""Frames before the one that is followed: until then a camera's rate is not known."""


class Way(NamedTuple):
    """What one frame went through: calls of each function, and the deepest nesting."""

    calls: Counter[CodeType]
    nesting: int

    @property
    def functions(self) -> int:
        """How many different functions it went through."""
        return len(self.calls)

    @property
    def files(self) -> int:
        """How many files these stand in."""
        return len({code.co_filename for code in self.calls})

    def lines(self) -> Iterator[str]:
        """The functions, file by file, with their calls."""
        for code in sorted(self.calls, key=lambda c: (c.co_filename, c.co_firstlineno)):
            place = Path(code.co_filename).relative_to(PACKAGE)
            yield f'{place}:{code.co_firstlineno} {code.co_name} {self.calls[code]}'

    def count(self, function: Callable[..., Any]) -> int:
        """How often it called a function."""
        return self.calls[function.__code__]


class Recorder:
    """Counts the calls of the package's functions, in every thread, while it is `on`."""

    def __init__(self) -> None:
        self.on = False
        self.calls: Counter[CodeType] = Counter()
        self.nesting = 0
        self._depth: Counter[int] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """See `sys.setprofile`."""
        code = frame.f_code
        ours = code.co_filename.startswith(PACKAGE) and not code.co_name.startswith('<')
        if not (self.on and ours and event in ('call', 'return')):
            return
        thread = threading.get_ident()
        if event == 'call':
            self.calls[code] += 1
            self._depth[thread] += 1
            self.nesting = max(self.nesting, self._depth[thread])
        elif self._depth[thread]:
            self._depth[thread] -= 1


class Camera:
    """A node in this process with subscribers, and frames that are handed to its callback."""

    def __init__(self, wanted: Sequence[str], parameters: dict[str, Any]) -> None:
        values = {'mount.height': 1.5, 'drivable.use_tf': False, 'drivable.max_age': 60.0}
        overrides = [Parameter(k, value=v) for k, v in {**values, **parameters}.items()]
        self.node = SegmentationNode(namespace='/frame_way', parameter_overrides=overrides)
        self._probe = rclpy.create_node('probe', namespace='/frame_way')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._probe)
        if not self.node.autostart():
            raise SystemExit('the node does not start')
        self._worker = self.node.worker
        for topic in wanted:
            self._probe.create_subscription(TOPICS[topic], topic, lambda message: None, 5)
        self._wait(lambda: all(self._subscribed(topic) for topic in wanted))
        callbacks = {s.topic_name.rpartition('/')[2]: s.callback for s in self.node.subscriptions}
        self._on_image = callbacks['image']
        info = CameraInfo()
        fill(info, camera_info_fields(Calibration.pinhole(WIDTH, HEIGHT, 60.0)))
        callbacks['camera_info'](info)
        labels = np.random.default_rng(0).integers(0, 19, (HEIGHT // 16, WIDTH // 16))
        self._pixels = np.kron(labels, np.ones((16, 16), np.int64)).astype(np.uint8)
        self._number = 0

    def frame(self) -> float:
        """Take one frame to its end; the milliseconds from the callback on."""
        message = Image(encoding='bgr8', height=HEIGHT, width=WIDTH, step=3 * WIDTH)
        message.data = array('B', np.repeat(self._pixels[..., None] * 13, 3, axis=2).tobytes())
        message.header.stamp = self.node.get_clock().now().to_msg()
        message.header.frame_id = 'camera'
        self._number += 1
        before = self._segmented()
        start = time.perf_counter()
        self._on_image(message, {'publication_sequence_number': self._number})
        while self._segmented() == before:
            time.sleep(0.0002)
        return (time.perf_counter() - start) * 1e3

    def close(self) -> None:
        """End both nodes."""
        self.node.release()
        self._executor.shutdown()
        self.node.destroy_node()
        self._probe.destroy_node()

    def _segmented(self) -> int:
        assert self._worker
        return self._worker.inbox.counts('').segmented

    def _subscribed(self, topic: str) -> bool:
        return self.node.count_subscribers(topic) > 0

    def _wait(self, condition: Any) -> None:
        while not condition():
            self._executor.spin_once(timeout_sec=0.05)
        time.sleep(0.3)


@contextmanager
def profiled(recorder: Recorder) -> Iterator[None]:
    """Have all threads that begin within the block watched, and this one."""
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def follow(wanted: Sequence[str], engine: str = 'fake') -> Way:
    """Follow one frame of a node with an engine; rclpy is initialised."""
    recorder = Recorder()
    with profiled(recorder):
        camera = Camera(wanted, {'engine': engine})
        try:
            for _ in range(WARM):
                camera.frame()
            recorder.on = True
            camera.frame()
            time.sleep(0.05)  # what comes after the count of the frame
            recorder.on = False
        finally:
            camera.close()
    del recorder.calls[Inbox.counts.__code__]  # by which this harness waits
    return Way(recorder.calls, recorder.nesting)


def milliseconds(wanted: Sequence[str], engine: str, count: int) -> float:
    """Median of the times of so many frames."""
    camera = Camera(wanted, {'engine': engine})
    try:
        for _ in range(WARM):
            camera.frame()
        return statistics.median(camera.frame() for _ in range(count))
    finally:
        camera.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--engine', default='fake')
    parser.add_argument('--list', action='store_true', help='name each function')
    parser.add_argument('--time', type=int, default=0, metavar='FRAMES')
    arguments = parser.parse_args()
    rclpy.init()
    rows = []
    for name, wanted in CASES.items():
        if arguments.time:
            print(f'{name} {milliseconds(wanted, arguments.engine, arguments.time):.3f}')
            continue
        way = follow(wanted, arguments.engine)
        rows.append((name, str(way.functions), str(way.files), str(way.nesting)))
        if arguments.list:
            print(name, *way.lines(), sep='\n  ')
    if rows:
        print(format_table(('one frame', 'functions', 'files', 'nesting'), rows))
    rclpy.shutdown()


if __name__ == '__main__':
    main()
