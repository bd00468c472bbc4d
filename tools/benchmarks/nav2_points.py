# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Right classes in the tiles of Nav2's semantic layer, on generated drives known exactly.

    ./run python -m tools.benchmarks.nav2_points --drives 100

Each drive gives one frame, from a car's camera at 400x200 pixels, or one of any kind (`--any`).
Mask and cloud go through the layer as config/nav2_semantic.yaml has it; a tile is right if its
class is anywhere in it in the world, on the ground or as the footprint of what stands there.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.cli.arguments import whole
from segformer_ros.drivable import DrivableAreaEstimator, DrivableConfig
from tools.benchmarks.drivable_truth import any_camera, car_camera
from tools.benchmarks.semantic_layer import SemanticLayer, Tile
from tools.street import Drive, labels

CONFIG = Path(__file__).resolve().parents[2] / 'config/nav2_semantic.yaml'
SIZE = (400, 200)
SAMPLES = 5  # along each side of a tile
BLOCKER = 255


def source_parameters() -> dict[str, Any]:
    """The observation source of config/nav2_semantic.yaml."""
    parameters = yaml.safe_load(CONFIG.read_text(encoding='utf-8'))
    costmap = parameters['local_costmap']['local_costmap']['ros__parameters']
    found: dict[str, Any] = costmap['semantic']['camera']
    return found


def messages(mask: np.ndarray, points: np.ndarray) -> tuple[Any, Any]:
    """Mask and cloud with the fields of their messages that the layer reads."""
    header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0))
    height, width = mask.shape
    shape = {'header': header, 'height': height, 'width': width}
    fields = [SimpleNamespace(name=n, offset=4 * i, datatype=7) for i, n in enumerate('xyz')]
    cloud = SimpleNamespace(
        **shape, fields=fields, point_step=12, is_bigendian=False, data=points.tobytes()
    )
    return SimpleNamespace(**shape, data=mask.ravel()), cloud


def label_info(class_map: ClassMap) -> Any:
    """The message with the classes' names."""
    entries = [SimpleNamespace(class_id=c.train_id, class_name=c.name) for c in class_map.classes]
    return SimpleNamespace(class_map=entries)


def right(
    drive: Drive, tiles: dict[Tile, int], resolution: float, around: float = 0.0
) -> np.ndarray:
    """Which of the tiles, given in the vehicle frame, have a class that is in them: (n,) bool.

    around: tiles that it may be beside.
    """
    step = (np.arange(SAMPLES) + 0.5) / SAMPLES * (1 + 2 * around) - around
    within = np.stack(np.meshgrid(step, step), axis=-1).reshape(-1, 2)
    corner = np.array(list(tiles), float).reshape(-1, 1, 2)
    points = ((corner + within) * resolution).reshape(-1, 2)
    found = drive.classes_at(points, 0).reshape(len(tiles), -1, labels.CLASS_COUNT)
    within_tile: np.ndarray = np.asarray(found.any(axis=1))
    result: np.ndarray = within_tile[np.arange(len(tiles)), list(tiles.values())]
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--drives', type=whole(1), default=100)
    parser.add_argument('--first-seed', type=whole(0), default=0)
    parser.add_argument('--any', action='store_true', help='cameras of any kind')
    options = parser.parse_args()
    cv2.setNumThreads(1)
    class_map = load_class_map('cityscapes')
    seen, good, near = Counter[str](), Counter[str](), Counter[str]()
    wrong, milliseconds, false_road = Counter[str](), list[float](), 0
    for seed in tqdm(range(options.first_seed, options.first_seed + options.drives), unit='drive'):
        camera = any_camera if options.any else car_camera
        drive = Drive(seed, *camera(seed, *SIZE), frames=1, start=float(seed % 40))
        frame = drive[0]
        estimator = DrivableAreaEstimator(DrivableConfig(), class_map)
        layer = SemanticLayer(source_parameters(), 0.1)
        layer.on_label_info(label_info(class_map))
        for _ in range(3):  # the last one is timed: the others fill the caches
            began = time.thread_time()
            area = estimator.update(frame.labels, None, drive.calibration, drive.pose)
            points = estimator.points(area, frame.labels)
            took = time.thread_time() - began
        milliseconds.append(took * 1e3)
        if points is None:
            continue
        mask, cloud = messages(frame.labels, points)
        tiles = layer.on_frame(mask, None, cloud, np.eye(3), np.zeros(3))
        if not tiles:
            continue
        exact = right(drive, tiles, layer.resolution)
        close = right(drive, tiles, layer.resolution, around=1.0)
        for ok, beside, class_id in zip(exact, close, tiles.values(), strict=True):
            kind = 'ground' if class_id in (0, 1, 9) else 'blockers'
            seen[kind] += 1
            good[kind] += int(ok)
            near[kind] += int(beside)
            false_road += int(class_id == labels.ROAD and not beside)
            if not ok:
                wrong[class_map.name_of(class_id)] += 1
    for kind in seen:
        print(
            f'{kind}: {seen[kind]} tiles, {good[kind] / seen[kind]:.2%} right, '
            f'{near[kind] / seen[kind]:.2%} to within a tile'
        )
    total, fine = sum(seen.values()), sum(good.values())
    print(f'all: {total} tiles, {fine / total:.2%} right; wrong: {dict(wrong.most_common(6))}')
    print(f'called road where there is none within a tile: {false_road}')
    print(
        f'ms a frame, area and cloud: median {np.median(milliseconds):.2f}, '
        f'p99 {np.percentile(milliseconds, 99):.2f}'
    )


if __name__ == '__main__':
    main()
