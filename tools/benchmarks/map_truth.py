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
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.cli.arguments import number, whole
from segformer_ros.drivable import (
    DrivableAreaEstimator,
    DrivableConfig,
    GridNumbers,
    GroundMap,
    GroundObserver,
    MapConfig,
    PlanarPose,
)
from segformer_ros.drivable.ground_points import ground_names
from segformer_ros.model import bundled_model
from tools.benchmarks.drivable_truth import Masks, car_camera, model_masks, true_masks
from tools.benchmarks.nav2_points import true_classes
from tools.street import Drive, labels

FPS = 10.0
EVERY = 10
RADIUS = 10.0


class Score:
    """Counts of cells within RADIUS of the vehicle."""

    def __init__(self, class_map: ClassMap, ground: GroundMap) -> None:
        self.counts: Counter[str] = Counter()
        self._ground = list(class_map.ids(*ground_names(class_map)))
        self._road = ground.cost_of(labels.ROAD)

    def add(
        self, name: str, numbers: GridNumbers, place: PlanarPose, drive: Drive, t: float
    ) -> None:
        """Compare a map with the world at time t of a drive."""
        height, width = numbers.cells.shape
        iy, ix = np.divmod(np.arange(height * width), width)
        corner = np.array([numbers.origin_x, numbers.origin_y])
        middle = corner + (np.stack([ix, iy], axis=1) + 0.5) * numbers.resolution
        near = np.hypot(*(middle - (place.x, place.y)).T) < RADIUS
        cells, points = numbers.cells.ravel()[near], place.undo(middle[near])
        true = true_classes(drive, points, t)  # (n, 19)
        ground = true[:, self._ground].any(axis=1)
        standing = true.any(axis=1) & (true.sum(axis=1) > 1) | ~ground
        free = (cells >= 0) & (cells < 100)
        wrong = free & (standing | ((cells == self._road) & ~true[:, labels.ROAD]))
        self.counts[f'{name} open ground'] += int(np.count_nonzero(~standing))
        self.counts[f'{name} known'] += int(np.count_nonzero(~standing & (cells >= 0)))
        self.counts[f'{name} free'] += int(np.count_nonzero(free))
        self.counts[f'{name} false'] += int(np.count_nonzero(wrong))
        self.counts[f'{name} false on things'] += int(np.count_nonzero(free & standing))


def run(
    seeds: range, frames: int, size: tuple[int, int], masks: Masks, config: MapConfig
) -> tuple[Counter[str], dict[str, list[float]]]:
    """Scores and milliseconds over all drives."""
    class_map = load_class_map('cityscapes')
    score = Score(class_map, GroundMap(config, class_map))
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
            t = start + index / FPS
            place = PlanarPose(*drive.scene.ego.place(t))
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
            if index % EVERY == EVERY - 1:
                single = GroundMap(config, class_map)
                single.add('', stamp_ns, place, seen)
                alone = single.numbers()
                assert alone is not None
                for name, grid in (('frame', alone), ('map', numbers)):
                    score.add(name, grid, place, drive, t)
    return score.counts, times


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--drives', type=whole(1), default=20)
    parser.add_argument('--first-seed', type=whole(0), default=0)
    parser.add_argument('--frames', type=whole(EVERY), default=40)
    parser.add_argument('--size', type=whole(32), nargs=2, default=(640, 360), metavar=('W', 'H'))
    parser.add_argument('--model', type=Path, nargs='?', const=Path())
    parser.add_argument('--half-life', type=number(0, above=True), default=MapConfig.half_life)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    masks: Masks = true_masks
    end: Callable[[], None] | None = None
    if options.model is not None:
        masks, end = model_masks(bundled_model() if options.model == Path() else options.model)
    seeds = range(options.first_seed, options.first_seed + options.drives)
    config = MapConfig(half_life=options.half_life)
    size = (options.size[0], options.size[1])
    counts, times = run(seeds, options.frames, size, masks, config)
    for name in ('frame', 'map'):
        of = {key.removeprefix(f'{name} '): value for key, value in counts.items()}
        print(
            f'{name}: known {of["known"] / of["open ground"]:.1%} of the open ground within '
            f'{RADIUS:g} m; falsely free {of["false"] / of["free"]:.3%} of {of["free"]} free '
            f'cells ({of["false on things"] / of["free"]:.3%} where something stands)'
        )
    for step, values in times.items():
        print(f'{step}: median {np.median(values):.2f} ms, p99 {np.percentile(values, 99):.2f} ms')
    if end:
        end()


if __name__ == '__main__':
    main()
