# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How true the drivable area is, on generated drives whose geometry is known exactly.

    ./run python -m tools.benchmarks.drivable_truth --drives 200 --out out/drivable

scores the geometry alone, on the drives' own labels, over cameras of all kinds, and then the
masks of a model (`--model`, by default the bundled one), seen by cameras as cars carry them; one
frame of each drive. `--only labels` or `--only model` does one of the two. Writes drivable.md
and drivable.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import load_class_map
from segformer_ros.cli.arguments import whole
from segformer_ros.drivable import DrivableAreaEstimator, DrivableConfig
from segformer_ros.engines import create_engine
from segformer_ros.engines.placement import cell_rows
from segformer_ros.frame import Frame
from segformer_ros.model import bundled_model, load_model
from tools.benchmarks.drivable_report import (
    ScoredDrive,
    by_condition,
    conditions_markdown,
    markdown,
    summarise,
)
from tools.benchmarks.drivable_score import FrameScores
from tools.street import Drive, StreetFrame

FOCAL_LENGTHS = (0.5, 0.75, 1.1)  # of the image's width: 90, 67 and 49 degrees
LENSES: tuple[tuple[str, tuple[float, ...]], ...] = (
    ('none', ()),
    ('plumb_bob', (-0.25, 0.06, 0.001, -0.001, 0.0)),
    ('none', ()),
    ('rational_polynomial', (0.3, 0.05, 0.0, 0.0, 0.01, 0.55, 0.1, 0.02)),
    ('none', ()),
    ('equidistant', (-0.02, 0.003, 0.0, 0.0)),
)

Camera = Callable[[int, int, int], tuple[Calibration, CameraPose]]
Masks = Callable[[StreetFrame], tuple[np.ndarray, float]]


def any_camera(seed: int, width: int, height: int) -> tuple[Calibration, CameraPose]:
    """A camera of any kind: 3 focal lengths, 4 lenses, 0.3 to 2.5 m high, tilted and rolled."""
    rng = np.random.default_rng([2026, seed])
    focal = FOCAL_LENGTHS[seed % len(FOCAL_LENGTHS)] * width
    model, distortion = LENSES[seed // len(FOCAL_LENGTHS) % len(LENSES)]
    calibration = Calibration(
        width,
        height,
        focal,
        focal,
        (width - 1) / 2 + rng.uniform(-9, 9),
        (height - 1) / 2 + rng.uniform(-9, 9),
        model,
        distortion,
    )
    # Which sign of pitch looks down differs between conventions: -15..+5 both ways.
    pitch = rng.uniform(-5, 15) * rng.choice([1, 1, -1])
    return calibration, CameraPose(
        height=math.exp(rng.uniform(math.log(0.3), math.log(2.5))),
        pitch=math.radians(pitch),
        roll=math.radians(rng.uniform(-5, 5)),
        yaw=math.radians(rng.uniform(-5, 5)),
    )


def car_camera(seed: int, width: int, height: int) -> tuple[Calibration, CameraPose]:
    """A camera as cars carry it: 1.2 to 1.8 m high, nearly level, 60 to 90 degrees wide."""
    rng = np.random.default_rng([2027, seed])
    pose = CameraPose(height=rng.uniform(1.2, 1.8), pitch=math.radians(rng.uniform(0, 5)))
    return Calibration.pinhole(width, height, rng.uniform(60, 90)), pose


def true_masks(frame: StreetFrame) -> tuple[np.ndarray, float]:
    """The frame's exact labels; a cell is a pixel."""
    return frame.labels, 1.0


def run(seeds: range, size: tuple[int, int], camera: Camera, masks: Masks) -> list[ScoredDrive]:
    """Score one frame of each drive; size: (width, height)."""
    class_map = load_class_map('cityscapes')
    scored = []
    for seed in tqdm(seeds, unit='drive'):
        drive = Drive(seed, *camera(seed, *size), frames=1, start=float(seed % 40))
        frame = drive[0]
        labels, cell = masks(frame)
        estimator = DrivableAreaEstimator(DrivableConfig(), class_map)
        area = estimator.update(labels, None, drive.calibration, drive.pose, cell=cell)
        grid = estimator.grid(area)
        assert grid is not None, 'the drives are calibrated'
        scores = FrameScores()
        scores.add(drive, 0, frame, area, grid)
        scored.append(ScoredDrive(drive.calibration, drive.pose, scores))
    return scored


def model_masks(path: Path) -> tuple[Masks, Callable[[], None]]:
    """Masks of a model on the CPU, and what ends its engine."""
    engine = create_engine(load_model(path), 'openvino')
    engine.activate()
    spec = engine.spec

    def masks(frame: StreetFrame) -> tuple[np.ndarray, float]:
        labels = engine.segment([Frame.from_array(frame.image)])[0].labels
        return labels, cell_rows(spec, 'whole', labels.shape, labels.shape[0])

    return masks, engine.deactivate


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--drives', type=whole(1), default=200)
    parser.add_argument('--first-seed', type=whole(0), default=0)
    parser.add_argument('--size', type=whole(32), nargs=2, default=(640, 360), metavar=('W', 'H'))
    parser.add_argument('--only', choices=('labels', 'model'))
    parser.add_argument('--model', type=Path, help='default: the bundled one')
    parser.add_argument('--out', type=Path, default=Path('out/drivable'))
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.drives)
    size = (options.size[0], options.size[1])
    sections, summaries = [], {}
    if options.only != 'model':
        title = 'True labels, cameras of all kinds'
        drives = run(seeds, size, any_camera, true_masks)
        summaries[title] = summarise(drives)
        conditions = by_condition(drives)
        sections += [markdown(title, summaries[title]), conditions_markdown(conditions)]
        summaries |= {f'{title}: {name}': summary for name, summary in conditions.items()}
    if options.only != 'labels':
        path = options.model or bundled_model()
        masks, end = model_masks(path)
        title = f'Masks of {path.name}, cameras of cars'
        summaries[title] = summarise(run(seeds, size, car_camera, masks))
        sections.append(markdown(title, summaries[title]))
        end()
    options.out.mkdir(parents=True, exist_ok=True)
    report = '\n'.join(sections)
    (options.out / 'drivable.md').write_text(report, encoding='utf-8')
    records = {title: asdict(summary) for title, summary in summaries.items()}
    (options.out / 'drivable.json').write_text(json.dumps(records, indent=1), encoding='utf-8')
    print(report)


if __name__ == '__main__':
    main()
