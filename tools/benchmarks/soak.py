"""A camera, the node and a watcher in three processes: what arrives, how old it is, what it takes.

    ./run python -m tools.benchmarks.soak                      an engine slowed to 5 fps, 60 s
    ./run python -m tools.benchmarks.soak --default-transport  the same without config/fastdds.xml
    ./run python -m tools.benchmarks.soak --engine openvino --delay 0 --seconds 20

The camera sends at a fixed rate, best effort. The watcher counts masks and takes their age as they
arrive, and reads the node's own counts from /diagnostics and its memory from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from tqdm import tqdm

from segformer_ros.node.transport import PROFILE_VARIABLES
from segformer_ros.terminal.arguments import number, size
from segformer_ros.text_table import format_table

ROOT = Path(__file__).resolve().parents[2]
NO_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <participant profile_name="defaults" is_default_profile="true"><rtps/></participant>
</profiles>
"""
SETTLE = 2.0  # seconds after the last frame in which what is under way arrives


class Figures(NamedTuple):
    """What one run gave: frames, ages in milliseconds, memory in MiB."""

    sent: int
    received: int
    segmented: int
    overtaken: int
    others: int
    masks: int
    arrived_percent: float
    first_mask_s: float
    age_p50_ms: float
    age_p99_ms: float
    age_max_ms: float
    memory_start_mib: float
    memory_end_mib: float
    node_cpu_percent: float
    load: float


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


class Watcher:
    """Subscribes to the node's masks and diagnostics."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node('soak_watcher')
        self.ages: list[float] = []
        self.counts: dict[str, str] = {}
        self.node.create_subscription(Image, 'segmentation/mask', self._on_mask, 10)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_status, 10)

    def spin(self, seconds: float) -> None:
        """Take messages for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def _on_mask(self, message: Image) -> None:
        stamp = message.header.stamp
        now = self.node.get_clock().now().nanoseconds
        self.ages.append((now - stamp.sec * 10**9 - stamp.nanosec) * 1e-6)

    def _on_status(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(': camera'):
                self.counts = {pair.key: pair.value for pair in status.values}


def run(options: argparse.Namespace) -> Figures:
    """Start node and camera, watch them, and end them."""
    with tempfile.TemporaryDirectory() as folder:
        profile = ROOT / 'config/fastdds.xml'
        if options.default_transport:
            profile = Path(folder, 'defaults.xml')
            profile.write_text(NO_PROFILE)
        for name in PROFILE_VARIABLES:
            os.environ[name] = str(profile)
        os.environ['ROS_DOMAIN_ID'] = str(random.randint(1, 101))
        watcher = Watcher()
        started = time.monotonic()
        node = subprocess.Popen(
            [
                sys.executable,
                str(ROOT / 'scripts/segmentation_node'),
                '--ros-args',
                '-p',
                f'engine:={options.engine}',
                '-p',
                f'fake_delay:={options.delay}',
            ],
            stderr=subprocess.DEVNULL,
        )
        source = subprocess.Popen(
            [
                sys.executable,
                '-m',
                'tools.benchmarks.soak',
                '--camera',
                '--rate',
                str(options.rate),
                '--seconds',
                str(options.seconds),
                '--size',
                f'{options.size[1]}x{options.size[0]}',
            ],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        try:
            return watch(watcher, node.pid, source, started, options.seconds)
        finally:
            for process in (source, node):
                with suppress(ProcessLookupError):
                    process.terminate()
                process.wait(10)
            watcher.node.destroy_node()
            rclpy.try_shutdown()


def watch(
    watcher: Watcher, pid: int, source: subprocess.Popen[str], started: float, seconds: float
) -> Figures:
    """Watch until the camera has ended."""
    while not watcher.ages and source.poll() is None:
        rclpy.spin_once(watcher.node, timeout_sec=0.02)
    first = time.monotonic() - started
    memory: list[float] = []
    cpu, began = cpu_seconds(pid), time.monotonic()
    with tqdm(total=round(seconds), unit='s', leave=False) as bar:
        while source.poll() is None:
            watcher.spin(1.0)
            memory.append(memory_mib(pid))
            bar.update()
    assert source.stdout
    sent = int(source.stdout.read())
    used = 100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - began)
    watcher.spin(SETTLE)
    counts = {
        name: int(watcher.counts.get(name, 0))
        for name in (
            'received',
            'segmented',
            'overtaken',
            'rejected',
            'failed',
            'unwanted',
            'pending',
        )
    }
    ages = np.array(watcher.ages) if watcher.ages else np.array([np.nan])
    settled = memory[len(memory) // 6 :] or [np.nan]
    return Figures(
        sent=sent,
        received=counts['received'],
        segmented=counts['segmented'],
        overtaken=counts['overtaken'],
        others=sum(counts[name] for name in ('rejected', 'failed', 'unwanted', 'pending')),
        masks=len(watcher.ages),
        arrived_percent=100 * counts['received'] / sent,
        first_mask_s=first,
        age_p50_ms=float(np.percentile(ages, 50)),
        age_p99_ms=float(np.percentile(ages, 99)),
        age_max_ms=float(ages.max()),
        memory_start_mib=settled[0],
        memory_end_mib=settled[-1],
        node_cpu_percent=used,
        load=os.getloadavg()[0],
    )


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) / 1024
    return float('nan')


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0] if __doc__ else '')
    parser.add_argument('--seconds', type=number(0, above=True), default=60.0)
    parser.add_argument(
        '--rate', type=number(0, above=True), default=30.0, help='of the camera, Hz'
    )
    parser.add_argument('--size', type=size, default=(1080, 1920), metavar='WxH')
    parser.add_argument('--engine', default='fake')
    parser.add_argument(
        '--delay', type=number(0), default=0.2, help="of the fake engine's calls, s"
    )
    parser.add_argument(
        '--default-transport', action='store_true', help=('without config/fastdds.xml')
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures there')
    parser.add_argument('--camera', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Run the soak; returns the exit code."""
    options = parse()
    height, width = options.size
    if options.camera:
        return camera(options.rate, options.seconds, height, width)
    figures = run(options)
    values: dict[str, Any] = figures._asdict()
    rows = [(name.replace('_', ' '), f'{value:g}') for name, value in values.items()]
    print(format_table(('', f'{width}x{height} bgr8 at {options.rate:g} Hz'), rows))
    balance = figures.segmented + figures.overtaken + figures.others
    print(f'accounted for: {balance} of {figures.received}')
    if options.json:
        options.json.write_text(json.dumps(values, indent=2) + '\n')
    return 0 if balance == figures.received else 1


if __name__ == '__main__':
    sys.exit(main())
