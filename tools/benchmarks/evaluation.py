# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What the evaluation costs: time beside bare inference, memory, and equality with the standard.

    ./run python -m tools.benchmarks.evaluation cost
    ./run python -m tools.benchmarks.evaluation long

`cost` scores a labelled bag of 1080p JPEG images and runs the bare network on as many frames, in
turns, so that a busy machine slows both alike: on one thread, one frame after another, and as the
evaluation has it, two frames at once on all cores. At 1024x512, which 1080p is meant for, or at
`--size`. `long` scores a labelled bag of 2000 small frames, watches the memory, and compares the
confusion matrix with that of cityscapesscripts on the masks it wrote (`pip install
cityscapesscripts`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tqdm import tqdm

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import load_class_map
from segformer_ros.cli.arguments import size, whole
from segformer_ros.engines import EngineOptions, Wanted
from segformer_ros.evaluation.executors import share_of_threads
from segformer_ros.evaluation.job import EvaluationJob, ModelChoice
from segformer_ros.evaluation.runner import EvaluationRun
from segformer_ros.frame import Frame
from segformer_ros.model import bundled_model
from segformer_ros.recordings import SourceOptions, open_source
from tools.street import Drive

START_NS = 1_700_000_000_000_000_000
POSE = CameraPose(1.4, pitch=0.03)
LABELS = '/labels/compressed'
SEED = 11


def main() -> int:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('benchmark', choices=('cost', 'long'))
    parser.add_argument('--model', default='', help='default: the bundled one')
    parser.add_argument(
        '--size', type=size, metavar='WxH',
        help="of the network's input (cost: 1024x512, long: the model's own)",
    )  # fmt: skip
    parser.add_argument(
        '--frames', type=whole(1), help='frames of the bag (cost: 200, long: 2000)'
    )
    parser.add_argument('--rounds', type=whole(1), default=3, help='turns of `cost`')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.model
        wanted = arguments.size or ((512, 1024) if arguments.benchmark == 'cost' else None)
        if wanted:
            file = str(resized_model(Path(file or bundled_model()), wanted, Path(folder)))
        model = ModelChoice(file, options=EngineOptions(threads=1))
        if arguments.benchmark == 'cost':
            measure_cost(Path(folder), model, arguments.frames or 200, arguments.rounds)
            return 0
        return check_long(Path(folder), model, arguments.frames or 2000)


def measure_cost(folder: Path, model: ModelChoice, frames: int, rounds: int) -> None:
    """Print seconds of the evaluation over seconds of the bare network.

    model: on one thread; the evaluation has the options of the verb.
    """
    own = replace(model.options, threads=share_of_threads(1), streams=2)
    bag = write_bag(folder / 'drive', frames, 1920, 1080, distinct=8)
    options = SourceOptions(label_topic=LABELS)
    job = EvaluationJob((str(bag),), options, replace(model, options=own))
    pictures = [f for f in (e.frame for e in open_source(bag).frames(0, 8)) if f is not None]
    ratios, both, networks, evaluations = [], [], [], []
    with model.create() as engine, job.model.create() as busy:
        for turn in range(rounds):
            network = bare_inference(engine, pictures, frames)
            full = bare_inference(busy, pictures, frames)
            started = perf_counter()
            cpu = process_time()
            EvaluationRun(job, folder / f'out{turn}').execute()
            seconds = perf_counter() - started
            cpu = process_time() - cpu
            networks.append(network / frames * 1e3)
            evaluations.append(seconds / frames * 1e3)
            ratios.append(seconds / network)
            both.append(seconds / full)
            print(
                f'turn {turn}: network {networks[-1]:.0f} ms, evaluation {evaluations[-1]:.0f} ms '
                f'a frame ({cpu / frames * 1e3:.0f} ms CPU), ratio {ratios[-1]:.3f}; to '
                f'the network on all cores ({full / frames * 1e3:.0f} ms) {both[-1]:.3f}'
            )
    print(
        f'medians of {rounds} turns, {frames} frames of 1920x1080 JPEG: network '
        f'{statistics.median(networks):.1f} ms, evaluation {statistics.median(evaluations):.1f} '
        f'ms a frame, ratio {statistics.median(ratios):.3f}, to the network on all cores '
        f'{statistics.median(both):.3f}'
    )


def bare_inference(engine: Any, pictures: list[Frame], frames: int) -> float:
    """Seconds that the network alone takes for `frames` frames, with room for the next one."""
    wanted, started = Wanted(upsampling='fast'), perf_counter()
    under_way: deque[Any] = deque()
    for index in range(frames):
        under_way.append(engine.start([pictures[index % len(pictures)]], wanted))
        if len(under_way) > 1:
            under_way.popleft()()
    for finish in under_way:
        finish()
    return perf_counter() - started


def check_long(folder: Path, model: ModelChoice, frames: int) -> int:
    """Score a long bag; 1 where memory grows or the matrix differs."""
    bag = write_bag(folder / 'drive', frames, 320, 180)
    masks = folder / 'predictions'
    options = SourceOptions(label_topic=LABELS)
    job = EvaluationJob((str(bag),), options, model, predictions=str(masks))
    memory: list[int] = []
    with tqdm(total=frames, desc='evaluate', unit='frame') as bar:

        def advance(count: int) -> None:
            bar.update(count)
            memory.append(resident_bytes())

        metrics = EvaluationRun(job, folder / 'out').execute(progress=advance).metrics
    places = (frames // 10, frames)
    early, late = (statistics.median(memory[max(at - 50, 0) : at]) / 2**20 for at in places)
    growth = late / early - 1
    print(
        f'memory: {early:.0f} MiB at frame {frames // 10}, {late:.0f} MiB at the end, '
        f'{100 * growth:+.1f} %'
    )
    theirs, miou = official_confusion(bag, masks, folder)
    same = np.array_equal(metrics['confusion'], theirs)
    difference = abs(metrics['miou_union'] - miou)
    print(
        f'confusion matrix of {sum(map(sum, metrics["confusion"]))} pixels '
        f'{"equals" if same else "differs from"} that of cityscapesscripts; '
        f'mIoU {metrics["miou_union"]:.6f}, difference {difference:.1e}'
    )
    return 0 if same and difference <= 1e-12 and growth <= 0.05 else 1


def official_confusion(bag: Path, masks: Path, folder: Path) -> tuple[np.ndarray, float]:
    """Confusion (19, 19) and mean IoU that cityscapesscripts gives for the written masks."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    ids = np.zeros(256, np.uint8)
    ids[:19] = [entry.label_id for entry in load_class_map('cityscapes').classes]
    truths, predictions = [], []
    for entry in open_source(bag, SourceOptions(label_topic=LABELS)):
        assert entry.labels is not None
        truths.append(str(folder / f'{entry.key}_gtFine_labelIds.png'))
        predictions.append(str(masks / bag.stem / f'{entry.key}.png'))
        cv2.imwrite(truths[-1], ids[entry.labels])
    official.args.quiet = True
    official.args.JSONOutput = official.args.evalInstLevelScore = False
    nothing: Callable[..., float] = lambda *_: float('nan')  # noqa: E731
    official.getInstanceIouScoreForLabel = official.getInstanceIouScoreForCategory = nothing
    result = official.evaluateImgLists(predictions, truths, official.args)
    matrix = np.array(result['confMatrix'], np.int64)[np.ix_(ids[:19], ids[:19])]
    return matrix, float(result['averageScoreClasses'])


def resized_model(file: Path, wanted: tuple[int, int], folder: Path) -> Path:
    """A copy of a model of this project that wants another input size, (height, width)."""
    import onnx

    graph = onnx.load(str(file))
    for entry in graph.metadata_props:
        if entry.key == 'segformer_ros.input_size':
            entry.value = f'{wanted[0]}x{wanted[1]}'
    copy = folder / f'{file.stem}_{wanted[1]}x{wanted[0]}.onnx'
    onnx.save(graph, str(copy))
    return copy


def write_bag(path: Path, frames: int, width: int, height: int, distinct: int = 0) -> Path:
    """A bag of JPEG images and PNG labels of a generated drive.

    distinct: frames that are drawn, the bag repeats them; 0 draws all.
    """
    drive = Drive(SEED, Calibration.pinhole(width, height, 70.0), POSE, frames=distinct or frames)
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {
            name: writer.add_connection(name, 'sensor_msgs/msg/CompressedImage', typestore=store)
            for name in ('/image/compressed', LABELS)
        }
        drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for index in tqdm(range(frames), desc='draw', unit='frame'):
            place = index % len(drive)
            files = drawn.get(place)
            if files is None:
                street = drive[place]
                files = (
                    cv2.imencode('.jpg', street.image)[1].ravel(),
                    cv2.imencode('.png', street.labels)[1].ravel(),
                )
            if distinct:
                drawn[place] = files
            time = START_NS + index * 100_000_000
            stamp = store.types['builtin_interfaces/msg/Time'](time // 10**9, time % 10**9)
            header = store.types['std_msgs/msg/Header'](stamp, 'camera')
            for topic, kind, data in zip(topics.values(), ('jpeg', 'png'), files, strict=True):
                message = store.types['sensor_msgs/msg/CompressedImage'](header, kind, data)
                writer.write(topic, time, store.serialize_cdr(message, topic.msgtype))
    return path


def resident_bytes() -> int:
    """Memory of this process."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * 4096


if __name__ == '__main__':
    sys.exit(main())
