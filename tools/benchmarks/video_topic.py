# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A long video topic: read, evaluated and played live, and where the CPU time goes.

    ./run python -m tools.benchmarks.video_topic --seconds 60 --model tiny

Makes a labelled bag of foxglove_msgs/CompressedVideo (H.264, 1080p at 30 Hz, a key frame each
second) of a generated street, and a copy without some packets. Reads it whole, in shards that
begin anywhere, and the copy: a picture that comes is the same, bit for bit, or it is counted as
wrong, and the exit code is 1. Evaluates the bag with `segformer evaluate`; plays it with the
replay node to the segmentation node, and its packets as CompressedImage at their times.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from tqdm import tqdm

from segformer_ros import topics
from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.cli.arguments import size, whole
from segformer_ros.engines import EngineOptions
from segformer_ros.evaluation.job import ModelChoice
from segformer_ros.evaluation.tables import read_frames
from segformer_ros.formats.video import UprightPixels, VideoDecoder
from segformer_ros.frame import Frame
from segformer_ros.recordings import BagWriter, open_source
from segformer_ros.recordings.bag_reader import BagReader
from segformer_ros.recordings.bag_storage import deserialize
from segformer_ros.recordings.bag_writer import header_fields, video_fields
from segformer_ros.recordings.source import CAMERA_FRAME, made_up_stamp
from segformer_ros.recordings.video_writer import VideoEncoder
from tools.sample_drive import png_fields
from tools.street import Drive

ROOT = Path(__file__).resolve().parents[2]
VIDEO = '/image/video'
LABELS = topics.recorded(topics.COMPRESSED_LABELS)
POSE = CameraPose(1.4, pitch=0.03)
SEED, FPS, DRAWN = 11, 30, 30
"""FPS: frames a second. DRAWN: different ones, which are shown to and fro, two groups of them."""
COMPARED, SHARD, SAMPLE = 600, 47, 60
"""COMPARED: frames whose pictures are compared. SHARD: frames of a part that is read by itself.
SAMPLE: frames whose stages are timed."""
COUNTS = ('received', 'segmented', 'overtaken', 'rejected', 'failed', 'lost')
LOST = ('P', 'I', 'IP')
"""Packets of a group that are lost in the copy, of three groups that lie apart."""


def main() -> int:
    """Run it; 1 where a wrong picture came."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--seconds', type=whole(8), default=60)
    parser.add_argument('--size', type=size, default=(1080, 1920), metavar='WxH')
    parser.add_argument('--model', default='', help='default: the bundled one')
    parser.add_argument('--workers', type=whole(1), default=2)
    arguments = parser.parse_args()
    frames = arguments.seconds * FPS
    compared = min(frames, COMPARED)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bag, cut = folder / 'drive.mcap', folder / 'cut.mcap'
        lost = lost_packets(compared)
        write_bags(bag, cut, lost, frames, arguments.size)
        print(
            f'{bag.name}: {frames} frames of {arguments.size[1]}x{arguments.size[0]} at {FPS} Hz, '
            f'{bag.stat().st_size * 8e-6 / arguments.seconds:.1f} Mbit/s with labels',
            flush=True,
        )
        wrong = compare_parts(bag, cut, lost, compared)
        stages = time_stages(bag, arguments.model)
        evaluate(bag, folder / 'out', arguments.model, arguments.workers, stages)
        play(bag, arguments.model, frames, stages)
    return int(wrong > 0)


def lost_packets(frames: int) -> set[int]:
    """Places of the packets that the copy lacks; a key frame stands at each whole second."""
    lost = set()
    for share, kinds in zip((0.2, 0.5, 0.8), LOST, strict=True):
        key = int(share * frames) // FPS * FPS
        lost |= {key} if 'I' in kinds else set()
        lost |= {key + FPS // 3} if 'P' in kinds else set()
    return lost


def write_bags(
    bag: Path, cut: Path, lost: set[int], frames: int, frame_size: tuple[int, int]
) -> None:
    """Write the drive, and its copy without some packets."""
    height, width = frame_size
    drive = Drive(SEED, Calibration.pinhole(width // 2, height // 2, 70.0), POSE, FPS, DRAWN)
    drawn = []
    for index in tqdm(range(DRAWN), desc='draw', unit='frame'):
        shown = drive[index]
        large = cv2.resize(shown.image, (width, height), interpolation=cv2.INTER_CUBIC)
        drawn.append(
            (large, cv2.resize(shown.labels, (width, height), interpolation=cv2.INTER_NEAREST))
        )
    drawn += drawn[::-1]
    labels = [png_fields({}, values) for _, values in drawn]
    encoder = VideoEncoder()
    packets = [
        encoder.encode(pixels, made_up_stamp(index, FPS).ns)
        for index, (pixels, _) in enumerate(tqdm(drawn, desc='encode', unit='frame'))
    ]
    with BagWriter(bag) as first, BagWriter(cut) as second:
        for one in (first, second):
            one.add_topic(VIDEO, topics.VIDEO_TYPE)
            one.add_topic(LABELS, topics.COMPRESSED_TYPE)
        for index in range(frames):
            stamp, place = made_up_stamp(index, FPS), index % len(drawn)
            frame = Frame.from_array(drawn[place][0], 'bgr8', stamp, CAMERA_FRAME)
            video = video_fields(frame, packets[place])
            truth = {**labels[place], 'header': header_fields(stamp, CAMERA_FRAME)}
            for one in (first, second):
                one.write_fields(LABELS, truth, stamp.ns)
                if one is first or index not in lost:
                    one.write_fields(VIDEO, video, stamp.ns)


def compare_parts(bag: Path, cut: Path, lost: set[int], frames: int) -> int:
    """Read the bag in parts and the copy, and count pictures that are not those of the whole."""
    whole_bag = open_source(bag)
    sums = dict(_pictures(whole_bag, 'whole', 0, frames))
    starts = range(0, frames, SHARD)
    parts = {
        stamp: value
        for start in starts
        for stamp, value in _pictures(
            whole_bag, f'from {start}', start, min(start + SHARD, frames)
        )
    }
    rest = dict(_pictures(open_source(cut), 'cut', 0, frames - len(lost)))
    wrong = [sum(found[stamp] != sums[stamp] for stamp in found) for found in (parts, rest)]
    print(
        f'read whole: {len(sums)} pictures; in {len(starts)} parts of {SHARD}: {len(parts)}, '
        f'{wrong[0]} of them others; without the packets {sorted(lost)}: {len(rest)}, {wrong[1]} '
        f'others, {len(sums) - len(lost) - len(rest)} refused',
        flush=True,
    )
    return sum(wrong) + len(sums) - len(parts)


def _pictures(
    source: Any, what: str, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, int]]:
    """Stamp and checksum of each picture that can be read."""
    for entry in tqdm(source.frames(start, stop), desc=f'read {what}', unit='frame'):
        if entry.frame is not None:
            yield entry.frame.stamp.ns, zlib.crc32(np.ascontiguousarray(entry.frame.pixels).data)


def time_stages(bag: Path, model: str) -> dict[str, float]:
    """Milliseconds of CPU for a frame: decoding, its pixels, and the network, one thread each."""
    packets = [bytes(message.data) for message in islice(_packets(bag), SAMPLE)]
    decoder, upright = VideoDecoder('h264', 25.0), UprightPixels()
    times: dict[str, list[float]] = {'decode': [], 'to BGR': [], 'network': []}
    frames = []
    for place, data in enumerate(packets):
        begun = time.process_time()
        given = decoder.push(place, data, False, '')
        times['decode'].append(time.process_time() - begun)
        for one in given:
            begun = time.process_time()
            pixels = upright(one.picture)
            times['to BGR'].append(time.process_time() - begun)
            frames.append(Frame.from_array(pixels.copy(), 'bgr8'))
    with ModelChoice(model, options=EngineOptions(threads=1)).create() as engine:
        for frame in frames[:: max(1, SAMPLE // 12)]:
            engine.segment([frame])
            begun = time.process_time()
            engine.segment([frame])
            times['network'].append(time.process_time() - begun)
    found = {name: 1e3 * median(values) for name, values in times.items()}
    said = ', '.join(f'{name} {value:.1f} ms' for name, value in found.items())
    print(f'CPU time for a frame, medians, one thread: {said}', flush=True)
    return found


def _packets(bag: Path) -> Iterator[Any]:
    with BagReader(bag) as reader:
        for entry in reader.messages(VIDEO):
            yield deserialize(entry.data, topics.VIDEO_TYPE)


def evaluate(bag: Path, out: Path, model: str, workers: int, stages: dict[str, float]) -> None:
    """Evaluate the bag as its user would."""
    command = ['segformer', 'evaluate', str(bag), '--label-topic', LABELS, '--out', str(out)]
    command += ['--workers', str(workers), *(['--model', model] if model else [])]
    cpu, begun = _children(), time.perf_counter()
    with out.with_suffix('.log').open('w') as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    seconds, cpu = time.perf_counter() - begun, _children() - cpu
    frames = read_frames(out)
    print(
        f'evaluate --workers {workers}: {len(frames)} frames, {sum(one.scored for one in frames)} '
        f'scored, {seconds:.0f} s; {_shares(1e3 * cpu / len(frames), stages)}',
        flush=True,
    )


def _shares(each: float, stages: dict[str, float]) -> str:
    """CPU milliseconds for a frame, and the shares of its stages."""
    shares = ', '.join(f'{name} {100 * value / each:.0f} %' for name, value in stages.items())
    return f'CPU {each:.1f} ms a frame: {shares}'


def _children() -> float:
    """Seconds of CPU of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Playing:
    """The segmentation node, and who counts its masks, until the end of its context."""

    def __init__(self, node: Node, model: str, **parameters: object) -> None:
        self.masks = 0
        self.facts: dict[str, str] = {}
        self._process = _start('segmentation_node', {'model': model, **parameters})
        self._subscriptions = (
            node.create_subscription(Image, topics.MASK, self._on_mask, 10),
            node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_status, 10),
        )
        self._begun = 0.0

    def begin(self) -> None:
        """Count from now on."""
        self._begun, self.masks = self._cpu(), 0

    def end(self, stages: dict[str, float], **decoded: int) -> str:
        """What came of it, in words; decoded: how many frames each stage of decoding had."""
        cpu = self._cpu() - self._begun
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        shares = {name: stages[name] * count for name, count in decoded.items()}
        shares['network'] = self.masks * stages['network']
        words = ', '.join(f'{name} {0.1 * ms / cpu:.0f} %' for name, ms in shares.items())
        counts = ', '.join(f'{self.facts.get(name)} {name}' for name in COUNTS)
        return f'{self.masks} masks; the segmentation node: {counts}; {cpu:.1f} s of CPU: {words}'

    def _cpu(self) -> float:
        fields = Path(f'/proc/{self._process.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def _on_mask(self, _: Image) -> None:
        self.masks += 1

    def _on_status(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.facts.update((pair.key, pair.value) for pair in status.values)


def play(bag: Path, model: str, frames: int, stages: dict[str, float]) -> None:
    """Play the bag live, as images and as packets."""
    rclpy.init()
    node = rclpy.create_node('benchmark')
    spinning = Thread(target=_spin, args=(node,), daemon=True)
    spinning.start()
    try:
        playing = Playing(node, model)
        replay = _start('replay_node', {'input': bag, 'wait_for': 1}, stdout=subprocess.PIPE)
        assert replay.stdout
        lines = []
        for line in replay.stdout:
            lines.append(line)
            if 'playing' in line:
                playing.begin()
        _, _, usage = os.wait4(replay.pid, 0)
        cpu = usage.ru_utime + usage.ru_stime
        decoding = frames * (stages['decode'] + stages['to BGR'])
        print(
            f'replay_node: {lines[-1].partition("]: ")[2].strip()}; {cpu:.1f} s of CPU: '
            f'decoding and to BGR {0.1 * decoding / cpu:.0f} %'
        )
        print(f'  {playing.end(stages)}', flush=True)
        playing = Playing(node, model, compressed=True)
        sent = _send_packets(node, bag, playing)
        print(f'{sent} packets as CompressedImage: {playing.end(stages, decode=sent)}')
    finally:
        rclpy.try_shutdown()
        spinning.join()


def _send_packets(node: Node, bag: Path, playing: Playing) -> int:
    """Publish a bag's packets at their times; how many."""
    publisher = node.create_publisher(CompressedImage, topics.IMAGE, 30)
    while not publisher.get_subscription_count():
        time.sleep(0.1)
    time.sleep(1.0)
    playing.begin()
    begun, sent = time.monotonic(), 0
    for message in _packets(bag):
        time.sleep(max(0.0, begun + sent / FPS - time.monotonic()))
        header = Header(stamp=node.get_clock().now().to_msg(), frame_id=CAMERA_FRAME)
        publisher.publish(
            CompressedImage(header=header, format='h264', data=array('B', bytes(message.data)))
        )
        sent += 1
    time.sleep(3.0)  # the last masks, and the diagnostics after them
    return sent


def _start(program: str, parameters: dict[str, object], **options: Any) -> subprocess.Popen[str]:
    """A node of this package with parameters; those that are empty are left out."""
    command = [str(ROOT / 'scripts' / program), '--ros-args']
    for name, value in parameters.items():
        if value != '':
            command += ['-p', f'{name}:={str(value).lower() if value is True else value}']
    return subprocess.Popen(command, text=True, stderr=subprocess.STDOUT, **options)


def _spin(node: Node) -> None:
    with suppress(ExternalShutdownException):
        rclpy.spin(node)


if __name__ == '__main__':
    sys.exit(main())
