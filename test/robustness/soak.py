# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""./run soak: a camera, the node, a watcher and a slow subscriber for as long as one likes.

    ./run soak --minutes 12                                     the bundled model at 30 Hz
    ./run soak --minutes 1 --engine fake --delay 0.2            an engine slowed to 5 fps
    ./run soak --minutes 1 --engine fake --default-transport    without config/fastdds.xml

Four processes. The camera sends at a fixed rate, best effort; the watcher takes the age of each
mask as it arrives, and reads the node's own counts from /diagnostics and what it takes from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from array import array
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from robustness.node_process import NodeProcess, Usage, with_tests
from robustness.watch import StatusWatcher
from sensor_msgs.msg import CompressedImage, Image
from tqdm import tqdm

from segformer_ros import topics
from segformer_ros.cli.arguments import number, size
from segformer_ros.measurement import Percentiles
from segformer_ros.metrics.live import LivePath
from segformer_ros.node.transport import profile_variable
from segformer_ros.text_table import format_table

NO_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <participant profile_name="defaults" is_default_profile="true"><rtps/></participant>
</profiles>
"""
SETTLE = 2.0
"""Seconds after the last frame in which what is under way arrives."""

PARTS = 6
"""Of a run: ages are compared between the second, by which all is warm, and the last."""

MOST_GROWTH = 1.0
"""Per cent by which the memory may grow in a run of at least LONG seconds."""

LONG = 300.0

_NO_LABELS = np.zeros((0, 0), np.uint8)


class Figures(NamedTuple):
    """What one run gave. Ages in milliseconds, of the second sixth of the run and of the last.

    memory_growth_percent: by a straight line through what was taken since the second sixth, from
    there to the end. lost: sent and not received; lost_by_node: what the node's diagnostics say.
    """

    sent: int
    received: int
    segmented: int
    overtaken: int
    unwanted: int
    others: int
    lost: int
    lost_by_node: int
    masks: int
    age_early: Percentiles
    age_late: Percentiles
    memory_start_mib: float
    memory_end_mib: float
    memory_growth_percent: float
    threads_start: int
    threads_end: int
    descriptors_start: int
    descriptors_end: int
    node_cpu_percent: float
    load: float

    @property
    def accounted(self) -> bool:
        """Whether every frame sent became something, and every mask arrived."""
        ended = self.segmented + self.overtaken + self.unwanted + self.others
        return ended == self.received == self.sent - self.lost and self.masks == self.segmented


class MaskWatcher(StatusWatcher):
    """Takes the ages of the masks, part by part of the run."""

    def __init__(self) -> None:
        super().__init__('soak_watcher')
        self.masks = 0
        self.parts = [LivePath()]
        self._node.create_subscription(Image, topics.MASK, self._on_mask, 10)

    def _on_mask(self, message: Image) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        age = (self._node.get_clock().now().nanoseconds - stamp) * 1e-9
        self.parts[-1].mask(stamp, _NO_LABELS, time.monotonic(), age)
        self.masks += 1


def camera(rate: float, seconds: float, height: int, width: int) -> int:
    """Publish noise at a fixed rate, once somebody subscribes; prints how many were sent."""
    rclpy.init()
    node = rclpy.create_node('soak_camera')
    publisher = node.create_publisher(Image, 'image', qos_profile_sensor_data)
    message = Image(height=height, width=width, step=3 * width, encoding='bgr8')
    message.header.frame_id = 'camera'
    noise = np.random.default_rng(0).integers(0, 255, height * width * 3, np.uint8)
    message.data = array('B', noise.tobytes())
    while publisher.get_subscription_count() == 0:
        time.sleep(0.01)
    time.sleep(0.2)  # the other side needs a moment more to find this publisher
    print('started', flush=True)
    start, sent = time.monotonic(), 0
    while sent < rate * seconds:
        time.sleep(max(0.0, start + sent / rate - time.monotonic()))
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        sent += 1
    time.sleep(SETTLE)
    print(sent)
    rclpy.try_shutdown()
    return 0


def slow_subscriber(seconds: float) -> int:
    """Subscribe to masks and overlays, and take so many seconds for each."""
    rclpy.init()
    node = rclpy.create_node('soak_slow_subscriber')
    for topic, kind in ((topics.MASK, Image), (topics.COMPRESSED_OVERLAY, CompressedImage)):
        node.create_subscription(kind, topic, lambda _: time.sleep(seconds), 10)
    rclpy.spin(node)
    return 0


def run(options: argparse.Namespace) -> Figures:
    """Start all processes, watch them, and end them."""
    with ExitStack() as stack:
        if options.default_transport:
            profile = Path(stack.enter_context(tempfile.TemporaryDirectory()), 'defaults.xml')
            profile.write_text(NO_PROFILE)
            os.environ[profile_variable()] = str(profile)
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        watcher = stack.enter_context(MaskWatcher())
        parameters = {'engine': options.engine, 'fake_delay': options.delay}
        if options.engine == 'fake':
            parameters['upsampling'] = 'fast'  # its exact labels would cost more than the node
        node = stack.enter_context(NodeProcess(parameters))
        if options.slow:
            stack.enter_context(_Part('--subscriber', str(options.slow)))
        height, width = options.size
        source = stack.enter_context(
            _Part(
                *('--camera', '--minutes', str(options.minutes), '--rate', str(options.rate)),
                *('--size', f'{width}x{height}'),
            )
        )
        return watch(watcher, node, source, 60 * options.minutes)


class _Part(subprocess.Popen[str]):
    """Another process of the soak, ended with its context."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(
            [sys.executable, '-m', 'robustness.soak', *arguments],
            stdout=subprocess.PIPE, text=True, env=with_tests(),
        )  # fmt: skip

    def __exit__(self, *error: Any) -> None:
        self.terminate()
        super().__exit__(*error)


def watch(
    watcher: MaskWatcher, node: NodeProcess, source: subprocess.Popen[str], seconds: float
) -> Figures:
    """Watch until the camera has ended."""
    assert source.stdout
    source.stdout.readline()
    began, usages = time.monotonic(), [node.usage()]
    with tqdm(total=round(seconds), unit='s', leave=False) as bar:
        while source.poll() is None:
            time.sleep(1.0)
            usages.append(node.usage())
            done = (time.monotonic() - began) / seconds
            if done * PARTS >= len(watcher.parts) < PARTS:
                watcher.parts.append(LivePath())
            bar.update()
    sent = int(source.stdout.read())
    elapsed = time.monotonic() - began
    counts, status = watcher.counts(), watcher.status()
    if counts is None:
        raise RuntimeError('the node publishes no /diagnostics')
    settled = usages[len(usages) // PARTS :]
    return Figures(
        sent=sent,
        received=counts.received,
        segmented=counts.segmented,
        overtaken=counts.overtaken,
        unwanted=counts.unwanted,
        others=counts.rejected + counts.failed + counts.pending,
        lost=sent - counts.received,
        lost_by_node=int(status['lost']),
        masks=watcher.masks,
        age_early=_ages(watcher.parts[min(1, len(watcher.parts) - 1)]),
        age_late=_ages(watcher.parts[-1]),
        memory_start_mib=settled[0].memory,
        memory_end_mib=settled[-1].memory,
        memory_growth_percent=growth_percent([usage.memory for usage in settled]),
        threads_start=settled[0].threads,
        threads_end=settled[-1].threads,
        descriptors_start=settled[0].descriptors,
        descriptors_end=settled[-1].descriptors,
        node_cpu_percent=_cpu_percent(usages, elapsed),
        load=os.getloadavg()[0],
    )


def growth_percent(values: list[float]) -> float:
    """By how many per cent a straight line through values at equal times grows along them."""
    if len(values) < 2:
        return 0.0
    slope, first = np.polyfit(np.arange(len(values)), values, 1)
    return float(100 * slope * (len(values) - 1) / first)


def _ages(path: LivePath) -> Percentiles:
    return path.figures().age_ms or Percentiles(float('nan'), float('nan'), float('nan'))


def _cpu_percent(usages: list[Usage], elapsed: float) -> float:
    return 100 * (usages[-1].cpu - usages[0].cpu) / elapsed


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='./run soak', description=__doc__.partition('\n')[0] if __doc__ else ''
    )
    parser.add_argument('--minutes', type=number(0, above=True), default=12.0)
    parser.add_argument(
        '--rate', type=number(0, above=True), default=30.0, help='of the camera, Hz'
    )
    parser.add_argument('--size', type=size, default=(1080, 1920), metavar='WxH')
    parser.add_argument('--engine', default='auto')
    parser.add_argument(
        '--delay', type=number(0), default=0.0, help="of the fake engine's calls, s"
    )
    parser.add_argument(
        '--slow', type=number(0), default=1.0, help='s of the slow subscriber; 0: there is none'
    )
    parser.add_argument(
        '--default-transport', action='store_true', help='without config/fastdds.xml'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures there')
    parser.add_argument('--camera', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--subscriber', type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def text(figures: Figures, title: str) -> str:
    """Table of the figures."""
    rows = [
        (
            name.replace('_', ' '),
            f'{value.p50:.0f} / {value.p99:.0f} ms'
            if isinstance(value, Percentiles)
            else f'{value:g}',
        )
        for name, value in figures._asdict().items()
    ]
    return format_table(('', title), rows)


def main() -> int:
    """Run the soak; 1 where a frame is not accounted for, or the memory of a long run grows."""
    options = parse()
    height, width = options.size
    if options.camera:
        return camera(options.rate, 60 * options.minutes, height, width)
    if options.subscriber:
        return slow_subscriber(options.subscriber)
    figures = run(options)
    print(text(figures, f'{width}x{height} bgr8 at {options.rate:g} Hz'))
    flat = 60 * options.minutes < LONG or figures.memory_growth_percent < MOST_GROWTH
    print(f'every frame accounted for: {"yes" if figures.accounted else "NO"}')
    print(f'memory flat: {"yes" if flat else "NO"}')
    if options.json:
        values = figures._asdict()
        values.update(age_early=figures.age_early._asdict(), age_late=figures.age_late._asdict())
        options.json.write_text(json.dumps(values, indent=2) + '\n')
    return 0 if figures.accounted and flat else 1


if __name__ == '__main__':
    sys.exit(main())
