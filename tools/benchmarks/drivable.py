"""Milliseconds of the drivable area per frame, on one core, by step.

    ./run python -m tools.benchmarks.drivable

Masks are the exact ones of generated drives, and those that the bundled model gives of the same
frames, with its specks; seen by a camera with and without distortion. The steps take turns, so
that a busy machine slows all of them alike; CPU time is what this thread used.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import load_class_map
from segformer_ros.cli.arguments import whole
from segformer_ros.drivable import DrivableArea, DrivableAreaEstimator, DrivableConfig
from segformer_ros.engines import Engine, Wanted, create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import bundled_model, load_model
from segformer_ros.text_table import markdown_row, markdown_table
from tools.street import Drive

SIZES = ((1280, 720), (1920, 1080))
LENSES = {'none': (), 'plumb_bob': (-0.25, 0.06, 0.001, -0.001, 0.0)}
POSE = CameraPose(1.4, pitch=math.radians(2.0))
COLUMNS = (
    'size, lens, masks', 'boundary', 'update', 'grid', 'scan', 'all', 'p10 / p99', 'wall time',
    'new pose each frame',
)  # fmt: skip


@dataclass
class Times:
    """Milliseconds of one step, one entry a call."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], object]) -> None:
        """Add one call."""
        wall, cpu = time.perf_counter(), time.thread_time()
        work()
        self.cpu.append((time.thread_time() - cpu) * 1e3)
        self.wall.append((time.perf_counter() - wall) * 1e3)


def camera(width: int, height: int, lens: str) -> Calibration:
    """A camera 70 degrees wide."""
    ideal = Calibration.pinhole(width, height, 70.0)
    return replace(ideal, model=lens, distortion=LENSES[lens])


class Mask(NamedTuple):
    """Labels and confidence, (H, W) uint8 each."""

    labels: np.ndarray
    confidence: np.ndarray


def masks(width: int, height: int, lens: str, count: int, engine: Engine) -> dict[str, list[Mask]]:
    """Exact masks of `count` streets, and the engine's."""
    result: dict[str, list[Mask]] = {'exact': [], 'model': []}
    for seed in range(count):
        frame = Drive(seed, camera(width, height, lens), POSE, frames=1, start=20.0)[0]
        result['exact'].append(Mask(frame.labels, np.full_like(frame.labels, 255)))
        seen = engine.segment([Frame.from_array(frame.image)], Wanted(confidence=True))[0]
        assert seen.confidence is not None, 'the bundled model gives it'
        result['model'].append(Mask(seen.labels, seen.confidence))
    return result


class Bench:
    """One estimator with one camera, and the steps that are measured."""

    def __init__(self, width: int, height: int, lens: str) -> None:
        self.calibration = camera(width, height, lens)
        self.estimator = DrivableAreaEstimator(DrivableConfig(), load_class_map('cityscapes'))

    def update(self, mask: Mask, pose: CameraPose = POSE) -> DrivableArea:
        """Boundary, metres and corridor."""
        return self.estimator.update(*mask, self.calibration, pose)

    def everything(self, mask: Mask, pose: CameraPose = POSE) -> None:
        """The summary, the grid and the scan."""
        area = self.update(mask, pose)
        self.estimator.grid(area)
        self.estimator.scan(area)


def measure(bench: Bench, seen: list[Mask], rounds: int) -> dict[str, Times]:
    """Times of all steps, over all masks."""
    steps: defaultdict[str, Times] = defaultdict(Times)
    for index, mask in enumerate(seen):
        area = bench.update(mask)
        for turn in range(rounds):
            moved = replace(POSE, pitch=POSE.pitch + 1e-5 * (index * rounds + turn + 1))
            bench.everything(mask)
            steps['boundary'].measure(partial(bench.estimator.update, *mask))
            steps['update'].measure(partial(bench.update, mask))
            steps['grid'].measure(partial(bench.estimator.grid, area))
            steps['scan'].measure(partial(bench.estimator.scan, area))
            steps['all'].measure(partial(bench.everything, mask))
            steps['all, new pose'].measure(partial(bench.everything, mask, moved))
    return steps


def row(name: str, steps: dict[str, Times]) -> str:
    """One line of the table."""
    parts = [
        f'{np.median(steps[step].cpu):.2f}' for step in ('boundary', 'update', 'grid', 'scan')
    ]
    low, middle, high = np.percentile(steps['all'].cpu, [10, 50, 99])
    wall, moving = np.median(steps['all'].wall), np.median(steps['all, new pose'].cpu)
    parts += [f'**{middle:.2f}**', f'{low:.2f} / {high:.2f}', f'{wall:.2f}', f'{moving:.2f}']
    return markdown_row([name, *parts])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--streets', type=whole(1), default=6)
    parser.add_argument('--rounds', type=whole(1), default=50)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print('CPU ms a frame, medians; "update" is boundary, metres and corridor\n')
    print(markdown_table(COLUMNS, []))
    with create_engine(load_model(bundled_model()), 'openvino') as engine:
        for width, height in SIZES:
            for lens in LENSES:
                bench = Bench(width, height, lens)
                for kind, seen in masks(width, height, lens, options.streets, engine).items():
                    steps = measure(bench, seen, options.rounds)
                    print(row(f'{width}x{height}, {lens}, {kind}', steps), flush=True)


if __name__ == '__main__':
    main()
