# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Camera, segmentation node and watcher, each a process of its own, and what they measure."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any, NamedTuple

import cv2
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from std_msgs.msg import Header

from segformer_ros import topics
from segformer_ros.interrupts import keep_buffers
from segformer_ros.measurement import percentiles
from segformer_ros.msg import DrivableArea
from segformer_ros.node.replay.replay_output import camera_info_message
from tools.street import demo_drive

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20

OUTPUTS: dict[str, Any] = {
    topics.MASK: Image,
    topics.CONFIDENCE: Image,
    topics.OVERLAY: Image,
    topics.COMPRESSED_OVERLAY: CompressedImage,
    topics.AREA: DrivableArea,
    topics.GRID: OccupancyGrid,
    topics.SCAN: LaserScan,
}

_SETTLE = 0.4
"""Seconds after the last frame of a step in which its mask arrives."""

_COUNTER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
typedef void *copy(void *, const void *, size_t);
static copy *copy_on, *move_on;
static uint64_t *total;
__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("COPIED"), O_RDWR);
    void *shared = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    copy_on = dlsym(RTLD_NEXT, "memcpy");
    move_on = dlsym(RTLD_NEXT, "memmove");
    if (shared != MAP_FAILED) total = shared;
}
static void *work(copy *libc, void *to, const void *from, size_t n) {
    if (total && n >= 16384) __atomic_fetch_add(total, n, __ATOMIC_RELAXED);
    if (libc) return libc(to, from, n);
    char *t = to; const char *f = from;   /* before `begin` */
    if (t < f) for (size_t i = 0; i < n; i++) t[i] = f[i];
    else while (n--) t[n] = f[n];
    return to;
}
void *memcpy(void *to, const void *from, size_t n) { return work(copy_on, to, from, n); }
void *memmove(void *to, const void *from, size_t n) { return work(move_on, to, from, n); }
void *__memcpy_chk(void *to, const void *from, size_t n, size_t m) {
    return memcpy(to, from, n);
}
void *__memmove_chk(void *to, const void *from, size_t n, size_t m) {
    return memmove(to, from, n);
}
"""
"""Counts the bytes that `memcpy` and `memmove` copy in pieces of 16 KiB and more."""


class Setting(NamedTuple):
    """What runs. size: (height, width). cameras: of each node, or one of each of so many nodes.

    Without a node, `LiveNode.start` starts one.
    """

    size: tuple[int, int] = (1080, 1920)
    everything: bool = False
    parameters: Mapping[str, Any] = {}
    cameras: int = 1
    nodes: int = 1


class Step(NamedTuple):
    """What a few seconds gave. rate: of each camera, Hz. masks: a second, of all cameras.

    lost: share of frames without a mask. p50, p99: ages of the masks, ms. cpu: of the nodes, per
    cent of a core. cpu_ms, copied: of the nodes for each mask, ms and MB. rss, pss: of the nodes
    together, MiB; a page that n processes share counts a nth in pss. costs: by stage, ms, as
    /diagnostics tells them.
    """

    rate: float
    masks: float
    lost: float
    p50: float
    p99: float
    cpu: float
    cpu_ms: float
    copied: float
    rss: float
    pss: float
    costs: Mapping[str, float]


class LiveNode:
    """Runs the processes of a setting until the end of its context."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self._setting, self._folder = setting, folder
        self._stack = ExitStack()

    def __enter__(self) -> LiveNode:
        setting = self._setting
        names = [f'c{i}' for i in range(max(setting.cameras, setting.nodes))]
        several = len(names) > 1
        prefixes = [f'{name}/' for name in names] if several else ['']
        self._streams = len(prefixes)
        parameters = {'mount.height': 1.5, **setting.parameters}
        height, width = setting.size
        outputs = 'all' if setting.everything else 'mask'
        self._counter = self._copy_counter()
        if several and setting.nodes == 1:
            parameters['cameras'] = f'[{",".join(names)}]'
        try:
            self._watcher = self._part('watcher', outputs, *prefixes)
            self._nodes = [
                self._node(parameters, f'/{name}' if setting.nodes > 1 else '')
                for name in names[: setting.nodes]
            ]
            self._camera = self._part('camera', f'{width}x{height}', *prefixes)
            if not self._nodes:
                return self
            self._ask(self._camera, '')  # that all subscriptions are there
            for _ in range(30):
                if self.step(5, 1.0).masks:
                    break
            else:
                raise RuntimeError('the node gives no masks')
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def step(self, rate: float, seconds: float) -> Step:
        """Let the cameras send at a rate for so long, and say what came of it."""
        self._ask(self._watcher, '')
        cpu, copied, begun = self._cpu(), self._copied(), time.monotonic()
        sent, took = self._ask(self._camera, f'{rate} {seconds}')
        elapsed = time.monotonic() - begun
        cpu, memory = self._cpu() - cpu, [self._memory(node) for node in self._nodes]
        time.sleep(_SETTLE)
        copied = self._copied() - copied
        ages, costs = self._ask(self._watcher, '')
        found = percentiles(ages)
        each = max(len(ages), 1)
        return Step(
            rate=sent / took / self._streams,
            masks=len(ages) / took,
            lost=max(0.0, 1 - len(ages) / sent),
            p50=found.p50,
            p99=found.p99,
            cpu=100 * cpu / elapsed,
            cpu_ms=1e3 * cpu / each,
            copied=copied / each / 1e6,
            rss=sum(entry[0] for entry in memory),
            pss=sum(entry[1] for entry in memory),
            costs=costs,
        )

    def start(self, root: Path = ROOT, rate: float = 30.0) -> float:
        """Start the node of a checkout while the camera sends; seconds until its first mask."""
        self._ask(self._watcher, '')
        began = time.monotonic()
        node = self._node({'mount.height': 1.5, **self._setting.parameters}, '', root)
        seconds = 0.0
        while not seconds and node.poll() is None and time.monotonic() < began + 60:
            self._tell(self._camera, f'{rate} 3')
            sent = time.monotonic()
            while not seconds and time.monotonic() < sent + 3:
                if self._ask(self._watcher, '')[0]:
                    seconds = time.monotonic() - began
                time.sleep(0.005)
            self._hear(self._camera)
        _end(node)
        if not seconds:
            raise RuntimeError(f'the node of {root} gives no masks')
        return seconds

    def _part(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, '-m', 'tools.benchmarks.live_node', *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self._stack.callback(_end, process)
        return process

    def _ask(self, process: subprocess.Popen[str], line: str) -> Any:
        self._tell(process, line)
        return self._hear(process)

    def _tell(self, process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin
        process.stdin.write(f'{line}\n')
        process.stdin.flush()

    def _hear(self, process: subprocess.Popen[str]) -> Any:
        assert process.stdout
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError('camera or watcher ended; its last lines stand above')
        return json.loads(answer)

    def _node(
        self, parameters: Mapping[str, Any], namespace: str, root: Path = ROOT
    ) -> subprocess.Popen[bytes]:
        command = [str(root / 'scripts/segmentation_node'), '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        command += ['-r', f'__ns:={namespace}'] if namespace else []
        library = str(self._folder / 'copied.so')
        paths = os.environ.get('PYTHONPATH', '').split(os.pathsep)
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={
                **os.environ, 'LD_PRELOAD': library, 'COPIED': str(self._folder / 'copied'),
                'PYTHONPATH': os.pathsep.join(str(root) if p == str(ROOT) else p for p in paths),
            },
        )  # fmt: skip
        self._stack.callback(_end, process)
        return process

    def _copy_counter(self) -> mmap.mmap:
        library, file = self._folder / 'copied.so', self._folder / 'copied'
        if not library.is_file():
            command = ['cc', '-shared', '-fPIC', '-O1', '-fno-builtin', '-xc', '-', '-ldl']
            subprocess.run([*command, '-o', library], input=_COUNTER, text=True, check=True)
        file.write_bytes(bytes(8))
        with file.open('r+b') as opened:
            return self._stack.enter_context(mmap.mmap(opened.fileno(), 8))

    def _copied(self) -> int:
        return int.from_bytes(self._counter[:8], sys.byteorder)

    def _cpu(self) -> float:
        fields = [
            Path(f'/proc/{node.pid}/stat').read_text().rpartition(')')[2].split()
            for node in self._nodes
        ]
        ticks = sum(int(entry[11]) + int(entry[12]) for entry in fields)
        return ticks / os.sysconf('SC_CLK_TCK')

    def _memory(self, node: subprocess.Popen[bytes]) -> tuple[float, float]:
        lines = Path(f'/proc/{node.pid}/smaps_rollup').read_text().splitlines()[1:]
        found = {name: int(rest.split()[0]) / 1024 for name, rest in (s.split(':') for s in lines)}
        return found['Rss'], found['Pss']


def _end(process: subprocess.Popen[Any]) -> None:
    """A killed process would leave its shared memory behind."""
    if process.stdin:
        process.stdin.close()  # at its end, camera and watcher end
    else:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def camera(size: str, prefixes: Sequence[str]) -> None:
    """Publish a street, best effort, at the rates and for the seconds that stdin gives."""
    width, height = map(int, size.split('x'))
    drive = demo_drive(frames=1, width=640, height=640 * height // width, fps=1.0)
    pixels = cv2.resize(next(iter(drive)).image, (width, height))
    calibration = demo_drive(frames=1, width=width, height=height, fps=1.0).calibration
    node = rclpy.create_node('bench_camera')
    images = [
        node.create_publisher(Image, f'{prefix}{topics.IMAGE}', qos_profile_sensor_data)
        for prefix in prefixes
    ]
    infos = [
        node.create_publisher(CameraInfo, f'{prefix}{topics.CAMERA_INFO}', qos_profile_sensor_data)
        for prefix in prefixes
    ]
    message = Image(height=height, width=width, step=3 * width, encoding='bgr8')
    message.data = array('B', pixels.tobytes())
    for line in sys.stdin:
        if not line.strip():
            while any(publisher.get_subscription_count() == 0 for publisher in images):
                time.sleep(0.01)
            time.sleep(0.3)  # the other side needs a moment more to find this publisher
            print('null', flush=True)
            continue
        rate, seconds = map(float, line.split())
        start, sent = time.monotonic(), 0
        while sent < rate * seconds:
            time.sleep(max(0.0, start + sent / rate - time.monotonic()))
            for image, info in zip(images, infos, strict=True):
                stamp = node.get_clock().now().to_msg()
                message.header = Header(stamp=stamp, frame_id='camera')
                info.publish(camera_info_message(message.header, calibration))
                image.publish(message)
            sent += 1
        time.sleep(max(0.0, start + sent / rate - time.monotonic()))
        print(json.dumps((sent * len(images), time.monotonic() - start)), flush=True)


def watch(outputs: str, prefixes: Sequence[str]) -> None:
    """Subscribe; for each line on stdin, tell the ages of the masks since the last, and costs."""
    node = rclpy.create_node('bench_watcher')
    ages: list[float] = []
    costs: dict[str, float] = {}
    lock = Lock()

    def on_mask(message: Image) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        with lock:
            ages.append((node.get_clock().now().nanoseconds - stamp) * 1e-6)

    def on_status(message: DiagnosticArray) -> None:
        for status in message.status:
            for pair in status.values:
                if pair.key.endswith(' (ms)'):
                    costs[pair.key[: -len(' (ms)')]] = float(pair.value)

    for prefix in prefixes:
        for topic, kind in OUTPUTS.items():
            if topic == topics.MASK or outputs == 'all':
                callback = on_mask if topic == topics.MASK else lambda _: None
                node.create_subscription(kind, f'{prefix}{topic}', callback, 10)
    node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, on_status, 10)
    spinning = Thread(target=_spin, args=(node,))
    spinning.start()
    for _ in sys.stdin:
        with lock:
            came = ages.copy()
            ages.clear()
        print(json.dumps((came, costs)), flush=True)
    rclpy.try_shutdown()
    spinning.join()


def _spin(node: Node) -> None:
    with suppress(ExternalShutdownException):
        rclpy.spin(node)


if __name__ == '__main__':
    keep_buffers()
    rclpy.init()
    role, what, *names = sys.argv[1:]
    (camera if role == 'camera' else watch)(what, names)
    rclpy.try_shutdown()
