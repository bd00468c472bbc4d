# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What each stage costs beside bare inference of the same graph, on one machine in one run.

Each round times bare inference and then one frame through the whole chain as the node runs it
(mask, overlay, drivable area, published to a subscriber in another process), so that both see the
same machine. Medians are printed, and the best round, which a busy machine moves less.

    ./run bench
    ./run bench --model mit-b0 --input 1024x512 --size 1920x1080 --threads 1 --json bench.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import cv2
import numpy as np
import rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tqdm import tqdm

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.cli.arguments import size, whole
from segformer_ros.drawing.overlay import blend
from segformer_ros.drivable import DrivableArea, DrivableAreaEstimator, DrivableConfig
from segformer_ros.engines import UPSAMPLING, Engine, EngineOptions, Wanted, create_engine
from segformer_ros.engines.openvino import import_openvino, openvino_core
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec, load_model
from segformer_ros.msg import DrivableArea as DrivableAreaMessage
from segformer_ros.node.messages import ImageBuffer
from segformer_ros.node.segmentation.drivable_output import area_message
from segformer_ros.text_table import format_table
from tools.family import FAMILY, family_model
from tools.street import demo_drive

CACHE = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'segformer_ros'

TARGET = 15.0
"""Per cent of bare inference that everything else may cost."""

BARE = 'bare inference'
PRICE = ('preprocess', 'postprocess', 'overlay', 'summary', 'publishing')
"""The stages around inference."""

_SUBSCRIBER = """
import rclpy
from sensor_msgs.msg import Image
from segformer_ros.msg import DrivableArea
rclpy.init()
node = rclpy.create_node('bench_subscriber')
for kind, topic in ((Image, 'mask'), (Image, 'overlay'), (DrivableArea, 'area')):
    node.create_subscription(kind, f'bench/{topic}', lambda message: None, 5)
rclpy.spin(node)
"""

Times = dict[str, list[float]]


class Publishing:
    """Message filling and publishing, as the node does it, to a subscriber in another process."""

    def __init__(self, subscriber_cores: set[int]) -> None:
        rclpy.init()
        self._node = rclpy.create_node('bench')
        self._mask = self._node.create_publisher(Image, 'bench/mask', 5)
        self._overlay = self._node.create_publisher(Image, 'bench/overlay', 5)
        self._area = self._node.create_publisher(DrivableAreaMessage, 'bench/area', 5)
        self._mask_buffer = ImageBuffer('mono8')
        self.overlay_buffer = ImageBuffer('bgr8')
        self._header = Header(frame_id='camera')
        self._subscriber = subprocess.Popen([sys.executable, '-c', _SUBSCRIBER])
        # It stands for another node, whose work does not count for this one.
        os.sched_setaffinity(self._subscriber.pid, subscriber_cores)
        while self._area.get_subscription_count() == 0:
            rclpy.spin_once(self._node, timeout_sec=0.1)

    def publish(self, labels: np.ndarray, area: DrivableArea) -> None:
        """Fill and publish mask, drivable area and overlay of one frame."""
        np.copyto(self._mask_buffer.resize(*labels.shape), labels)
        self._mask.publish(self._mask_buffer.stamped(self._header))
        self._area.publish(area_message(self._header, area, 0.0, 'base_link'))
        self._overlay.publish(self.overlay_buffer.stamped(self._header))

    def close(self) -> None:
        """End node and subscriber."""
        self._subscriber.kill()
        self._subscriber.wait()
        self._node.destroy_node()
        rclpy.try_shutdown()


class Scene(NamedTuple):
    """A generated frame with the camera that saw it."""

    frame: Frame
    calibration: Calibration
    pose: CameraPose


class Chain(NamedTuple):
    """Everything that a frame goes through."""

    engine: Engine
    estimator: DrivableAreaEstimator
    publishing: Publishing
    wanted: Wanted

    def run(self, scene: Scene) -> dict[str, float]:
        """Take one frame through all stages; milliseconds of each."""
        frame, palette = scene.frame, self.engine.spec.class_map.palette_bgr
        result = self.engine.segment([frame], self.wanted)[0]
        start = perf_counter()
        area = self.estimator.update(
            result.labels, result.confidence, scene.calibration, scene.pose
        )
        summed = perf_counter()
        pixels = self.publishing.overlay_buffer.resize(frame.height, frame.width)
        blend(frame.bgr(), result.labels, palette, 0.5, out=pixels)
        drawn = perf_counter()
        self.publishing.publish(result.labels, area)
        return {
            **result.times._asdict(),
            'summary': (summed - start) * 1e3,
            'overlay': (drawn - summed) * 1e3,
            'publishing': (perf_counter() - drawn) * 1e3,
        }


def bare_inference(spec: ModelSpec, threads: int) -> Callable[[], object]:
    """Return the graph of a model alone: an OpenVINO request that is always given one input."""
    openvino, core = import_openvino(), openvino_core()
    model = core.read_model(str(spec.path))
    height, width = spec.size
    sides = {'N': 1, 'C': 3, 'H': height, 'W': width}
    shape = [sides[axis] for axis in spec.input_layout]
    model.reshape({spec.input_name: shape})
    settings = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32'}
    if threads:
        settings['INFERENCE_NUM_THREADS'] = str(threads)
    request = core.compile_model(model, 'CPU', settings).create_infer_request()
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(spec.input_dtype)
    request.set_input_tensor(openvino.Tensor(pixels))
    return lambda: request.infer()


def find_model(name: str, size: tuple[int, int] | None) -> ModelSpec:
    """Return the specification of a file, of the bundled model (''), or of a family member.

    size: (height, width) of the network's input; None for the model's own.
    """
    if name in FAMILY:
        height, width = size or (512, 1024)
        path = CACHE / 'benchmark' / f'{name}_{width}x{height}.onnx'
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            family_model(name, (height, width)).write(path)
        return load_model(path)
    spec = load_model(name)
    return spec.resized(*size) if size else spec


def street_scenes(height: int, width: int, count: int = 4) -> list[Scene]:
    """Frames of a generated drive, seconds apart."""
    drive = demo_drive(frames=count, width=width, height=height, fps=0.5)
    return [
        Scene(Frame.from_array(street.image), drive.calibration, drive.pose) for street in drive
    ]


def measure(chain: Chain, bare: Callable[[], object], scenes: list[Scene], rounds: int) -> Times:
    """Milliseconds of bare inference and of each stage, round by round."""
    times: Times = defaultdict(list)
    for index in tqdm(range(-3, rounds), unit='round', leave=False):
        start = perf_counter()
        bare()
        figures = {BARE: (perf_counter() - start) * 1e3}
        figures.update(chain.run(scenes[index % len(scenes)]))
        if index >= 0:  # the first ones warm up
            for stage, duration in figures.items():
                times[stage].append(duration)
    return times


def report(times: Times) -> tuple[str, float]:
    """Table of the stages, and the price of all but inference in per cent of bare inference."""
    bare = np.array(times[BARE])
    price = np.sum([times[stage] for stage in PRICE], axis=0)
    lines = {**times, 'all but inference': list(price)}
    rows = [
        (
            stage,
            f'{np.median(values):.2f}',
            f'{np.min(values):.2f}',
            f'{100 * np.median(np.array(values) / bare):.1f}',
        )
        for stage, values in lines.items()
    ]
    header = ('stage', 'median ms', 'best ms', '% of bare inference')
    return format_table(header, rows), float(100 * np.median(price / bare))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""

    parser = argparse.ArgumentParser(
        prog='./run bench', description='Milliseconds per stage beside bare inference.'
    )
    parser.add_argument(
        '--model',
        default='',
        help=(
            f'model file, or one of {", ".join(FAMILY)} with random weights (default: the bundled)'
        ),
    )
    parser.add_argument(
        '--input', type=size, metavar='WxH', help=("of the network (default: the model's own)")
    )
    parser.add_argument(
        '--size',
        type=size,
        metavar='WxH',
        default=(1080, 1920),
        help=('of the frames (default: 1920x1080)'),
    )
    parser.add_argument('--threads', type=whole(0), default=1, help='0: all cores (default: 1)')
    parser.add_argument('--rounds', type=whole(1), default=30)
    parser.add_argument('--upsampling', choices=UPSAMPLING, default='exact')
    parser.add_argument('--engine', default='openvino')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all figures there')
    return parser.parse_args(arguments)


def main() -> int:
    """Run the benchmark; returns the exit code."""
    options = parse()
    cores = os.sched_getaffinity(0)
    if options.threads:
        cv2.setNumThreads(options.threads)
        if options.threads == 1:
            os.sched_setaffinity(0, {max(cores)})
    spec = find_model(options.model, options.input)
    scenes = street_scenes(*options.size)
    engine = create_engine(spec, options.engine, EngineOptions(threads=options.threads))
    estimator = DrivableAreaEstimator(DrivableConfig(), spec.class_map)
    publishing = Publishing(cores - {max(cores)} or cores)
    try:
        with engine:
            chain = Chain(engine, estimator, publishing, Wanted(True, options.upsampling))
            bare = bare_inference(spec, options.threads)
            times = measure(chain, bare, scenes, options.rounds)
            facts = engine.facts()
    finally:
        publishing.close()
    table, price = report(times)
    height, width = options.size
    print(
        f'{width}x{height} bgr8, {spec.path.name} at {spec.size_in_words}, '
        f'{options.upsampling}, {options.threads or "all"} threads, {platform.machine()}, '
        f'load {os.getloadavg()[0]:.1f}'
    )
    print(', '.join(f'{key} {value}' for key, value in facts.items()), end='\n\n')
    print(table)
    verdict = 'within' if price <= TARGET else 'above'
    print(f'\nall but inference: {price:.1f} % of inference, {verdict} {TARGET:g} %')
    if options.json:
        options.json.write_text(json.dumps({'facts': facts, 'price_percent': price, **times}))
    return 0


if __name__ == '__main__':
    sys.exit(main())
