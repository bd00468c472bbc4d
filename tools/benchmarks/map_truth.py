# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How much the ground map knows, and how much of that is wrong, on drives known exactly.

    ./run python -m tools.benchmarks.map_truth --drives 20

Each drive is seen by a car's camera at 10 frames a second; every tenth map is compared with the
world: cells that say ground where something stands, or road where there is none, are falsely
free. Masks are the drives' own labels, or a model's (`--model`). Times are the thread's own, one
core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from segformer_ros.classes import load_class_map
from segformer_ros.cli.arguments import number, whole
from segformer_ros.drivable import (
    DrivableAreaEstimator,
    DrivableConfig,
    GroundMap,
    GroundObserver,
    MapConfig,
)
from segformer_ros.metrics.free_space import MAP_EVERY, MAP_RADIUS, MapScores, MapTruth
from segformer_ros.model import bundled_model
from tools.benchmarks.drivable_truth import Masks, car_camera, model_masks, true_masks
from tools.street import Drive

FPS = 10.0


def run(
    seeds: range, frames: int, size: tuple[int, int], masks: Masks, config: MapConfig
) -> tuple[dict[str, MapScores], dict[str, list[float]]]:
    """Scores of one frame and of the map, and milliseconds, over all drives."""
    class_map = load_class_map('cityscapes')
    truth = {name: MapTruth(class_map) for name in ('frame', 'map')}
    times: dict[str, list[float]] = {'observe': [], 'add': [], 'numbers': [], 'all': []}

    for seed in tqdm(seeds, unit='drive'):
        start = float(seed % 40)
        drive = Drive(seed, *car_camera(seed, *size), fps=FPS, frames=frames, start=start)
        settings = DrivableConfig()
        estimator = DrivableAreaEstimator(settings, class_map)
        memory = GroundMap(config, class_map)
        observer = GroundObserver(settings.boundary, class_map, config)
        for index in range(frames):
            frame = drive[index]
            mask, cell = masks(frame)
            area = estimator.update(mask, None, drive.calibration, drive.pose, cell=cell)
            if area.view is None:
                continue
            place = drive.place(index)
            ground, stamp_ns = area.view.ground, 1 + round(index / FPS * 1e9)
            clock = [time.thread_time()]
            seen = observer.observe(mask, None, ground, cell)
            clock.append(time.thread_time())
            memory.add('', stamp_ns, place, seen)
            clock.append(time.thread_time())
            numbers = memory.numbers()
            clock.append(time.thread_time())
            for step, spent in zip(times, [*np.diff(clock), clock[-1] - clock[0]], strict=True):
                times[step].append(spent * 1e3)
            assert numbers is not None, 'it has just been given a frame'
            if index % MAP_EVERY == MAP_EVERY - 1:
                single = GroundMap(config, class_map)
                single.add('', stamp_ns, place, seen)
                alone = single.numbers()
                assert alone is not None
                world = partial(drive.classes_at, index=index)
                truth['frame'].update(single, alone, place, world)
                truth['map'].update(memory, numbers, place, world)
    return {name: found.compute() for name, found in truth.items()}, times


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--drives', type=whole(1), default=20)
    parser.add_argument('--first-seed', type=whole(0), default=0)
    parser.add_argument('--frames', type=whole(MAP_EVERY), default=40)
    parser.add_argument('--size', type=whole(32), nargs=2, default=(640, 360), metavar=('W', 'H'))
    parser.add_argument('--model', type=Path, nargs='?', const=Path())
    parser.add_argument('--half-life', type=number(0, above=True), default=MapConfig.half_life)
    parser.add_argument('--unseen-speed', type=number(0), default=MapConfig.unseen_speed)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    masks: Masks = true_masks
    end: Callable[[], None] | None = None
    if options.model is not None:
        masks, end = model_masks(bundled_model() if options.model == Path() else options.model)
    seeds = range(options.first_seed, options.first_seed + options.drives)
    config = MapConfig(half_life=options.half_life, unseen_speed=options.unseen_speed)
    size = (options.size[0], options.size[1])
    scores, times = run(seeds, options.frames, size, masks, config)
    for name, of in scores.items():
        print(
            f'{name}: known {of.known:.1%} of open ground within {MAP_RADIUS:g} m; falsely free '
            f'{of.false_free:.3%} of {of.cells} free cells ({of.false_on_things:.3%} where '
            'something stands)'
        )
    for step, values in times.items():
        print(f'{step}: median {np.median(values):.2f} ms, p99 {np.percentile(values, 99):.2f} ms')
    if end:
        end()


if __name__ == '__main__':
    main()
